"""Training from Python: one run with its teachers, or the teachers alone."""

from pathlib import Path

from raykd import UserError
from raykd.api.run import Run
from raykd.api.starting.start import Start, start
from raykd.launch.driver import run as driver
from raykd.launch.teachers import names
from raykd.launch.teachers import train as teachers
from raykd.recipe import Recipe


def train(recipe: Recipe | str | Path, *, name: str = "", storage: str | Path = "", show: bool = True) -> Run:
    """Train a recipe, its missing teachers first; an existing run of the same name is resumed.

    After `ray.init()` it uses that cluster; otherwise it joins the one at RAY_ADDRESS or on this machine, or starts a
    local one for the duration of the training.

    recipe: a `Recipe`, the path of a recipe's file, or the name of one that ships with raykd, e.g. "digits/kd".
    name: of the run below the storage; "" for the recipe's folder and file.
    storage: folder or URI (s3://, gs://, …) of runs; "" for $RAYKD_STORAGE, else ./runs.
    show: print progress.

    Raises UserError for invalid input, RunFailed if the run ended without a result, and KeyboardInterrupt if it was
    stopped, after a checkpoint.
    """
    return Run(path=train_started(start(recipe, name, storage, show)).location)


def train_started(begun: Start) -> driver.Finished:
    """As `train`, for a loaded recipe."""
    driver.check(begun.recipe)
    trained = teachers.ensure(begun.loaded, begun.recipe, begun.storage, begun.display)
    return driver.train(begun.loaded, begun.recipe, begun.name, begun.storage, trained, begun.display)


def train_teachers(
    recipe: Recipe | str | Path, *, name: str = "", storage: str | Path = "", show: bool = True
) -> list[Run]:
    """Train the missing teachers of a recipe, in parallel as far as they fit; returns all teachers, in order.

    Arguments and errors as of `train`.
    """
    return [Run(path=place) for place in teachers_started(start(recipe, name, storage, show))]


def teachers_started(begun: Start) -> list[str]:
    """As `train_teachers`, for a loaded recipe; returns their run directories."""
    if not names.teacher_recipes(begun.recipe):
        raise UserError(f"{begun.loaded.path} has no teachers to train")
    driver.check(begun.recipe)
    return teachers.ensure(begun.loaded, begun.recipe, begun.storage, begun.display)
