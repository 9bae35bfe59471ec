"""raykd sync: uploads to W&B what its server lacks of runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from raykd import UserError
from raykd.recipe.command_line import parse
from raykd.terminal import Terminal, agreed


@dataclass(frozen=True)
class Options:
    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN …")]
    """Run directories, or folders of them; local paths or the storage's URIs."""
    to: tuple[str, ...] = ()
    """ENTITY/PROJECT to which runs may be uploaded, in addition to the project raykd of your default entity."""


def run(arguments: Sequence[str]) -> int:
    """Upload, and print one line for each run; returns the exit status."""
    from raykd.storage.local_copy import local_copy, of_results, of_student, of_tracking
    from raykd.track.upload import sync

    description = "Upload runs that were logged offline to W&B, with the key of `wandb login` or WANDB_API_KEY."
    chosen = parse(Options, Options(runs=()), arguments, "raykd sync", description)
    if not chosen.runs:
        raise UserError("raykd sync needs run directories: raykd sync runs")
    copies = [
        local_copy(run, lambda name: of_tracking(name) or of_results(name) or of_student(name)) for run in chosen.runs
    ]
    for line in sync([str(copy.path) for copy in copies], chosen.to, agreed):
        Terminal().print(line)
    for copy in copies:
        copy.upload(of_tracking)
    return 0
