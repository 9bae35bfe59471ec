"""raykd sync: uploads to W&B what its server lacks of runs."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from raykd import UserError
from raykd.recipe.load import parse
from raykd.terminal import Terminal


@dataclass(frozen=True)
class Options:
    runs: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Run directories, or folders of them; local paths or the storage's URIs."""
    to: tuple[str, ...] = ()
    """ENTITY/PROJECT to which runs may be uploaded, in addition to the project raykd of your default entity."""


def run(arguments: Sequence[str]) -> int:
    """Upload, and print one line for each run; returns the exit status."""
    from raykd.storage.local_copy import local_copy, of_results, of_student, of_tracking
    from raykd.track.upload import sync

    description = "Upload runs that W&B could not be reached for, with the key from W&B's own places."
    chosen = parse(Options, Options(runs=()), arguments, "raykd sync", description)
    if not chosen.runs:
        raise UserError("raykd sync needs run directories: raykd sync runs")
    mirrors = [
        local_copy(place, lambda name: of_tracking(name) or of_results(name) or of_student(name))
        for place in chosen.runs
    ]
    for line in sync([str(mirror.path) for mirror in mirrors], chosen.to, ask):
        Terminal().print(line)
    for mirror in mirrors:
        mirror.upload(of_tracking)
    return 0


def ask(question: str) -> bool:
    """The user's answer; no if there is no terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    Terminal().print(f"{question} [y/N] ", end="")
    return input().strip().lower() in ("y", "yes")
