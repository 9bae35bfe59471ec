"""The specification that each process of a run receives: plain values, including the user's source code."""

import atexit
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from raykd.data.storage.own_code import is_installed
from raykd.recipe import Recipe
from raykd.recipe.files.sources import materialize
from raykd.recipe.fingerprint import fingerprint
from raykd.recipe.serial import from_dict, to_dict
from raykd.storage.atomic import scratch, temporary_folder
from raykd.storage.folder import Folder


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """One run, as passed to its driver, workers and remote teachers.

    The recipe is plain data, because the user's classes can be imported only after their source has been unpacked.
    """

    recipe: dict[str, Any]
    sources: dict[str, str]  # the user's modules: path → text
    run: str  # the run's directory
    name: str
    trained: tuple[str, ...]  # run directories of the teachers that `Train` sources stand for
    fingerprint: str
    git: str  # commit of the recipe's checkout
    role: Literal["student", "teacher", "trial"] = "student"
    group: str = ""  # of W&B; empty: the recipe's own
    cell: dict[str, str] = field(default_factory=dict)  # a study's row and column, for W&B
    overrides: dict[str, Any] = field(default_factory=dict)  # a trial's changes of its search's recipe

    @contextmanager
    def opened(self) -> Iterator[Recipe]:
        """Context with the recipe, in which the user's modules are on disk; they are removed at its end."""
        with temporary_folder() as folder:
            if self.sources:
                materialize(self.sources, Path(folder))
            yield from_dict(self.recipe)


def job_of(run: Folder, recipe: Recipe, trained: Sequence[str], **more: Any) -> JobSpec:
    """The job of a recipe in a run directory; `more`: further fields."""
    return JobSpec(
        recipe=to_dict(recipe), run=run.location, trained=tuple(trained), fingerprint=fingerprint(recipe), **more
    )


def git_commit(folder: Path) -> str:
    """The commit of the recipe's checkout, with "+" if files are modified; empty if it is not in a checkout.

    An installed recipe is in none, even if its environment is inside the checkout of another project.
    """
    if is_installed(folder):
        return ""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--exclude=*", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def unpack(sources: dict[str, str]) -> None:
    """Make the user's modules importable for the lifetime of this process, which may run several jobs."""
    if sources and sources not in _unpacked:
        folder = scratch()
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        materialize(sources, Path(folder))
        _unpacked.append(sources)


_unpacked: list[dict[str, str]] = []
