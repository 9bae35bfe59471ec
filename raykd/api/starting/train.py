"""Training from Python: one run with its teachers, or the teachers alone."""

from pathlib import Path

from raykd import UserError
from raykd.api.run import Run
from raykd.api.starting.start import Start, start
from raykd.launch.driver import run as driver
from raykd.launch.driver.validate import check, check_name
from raykd.launch.teachers import train as teachers
from raykd.launch.teachers.plan import teacher_recipes
from raykd.recipe import Recipe


def train(recipe: Recipe | str | Path, *, name: str = "", storage: str | Path = "", show: bool = True) -> Run:
    """Train a recipe, after training its missing teachers; an existing run of the same name is resumed.

    After `ray.init()` it uses that cluster. Otherwise it joins the one at RAY_ADDRESS or on this machine, or starts a
    local one for the duration of the training.

    recipe: a `Recipe`, the path of a recipe's file, or the name of one that ships with raykd, such as "digits/kd".
    name: name of the run below the storage; "": from the recipe's folder and file, such as digits/kd.
    storage: folder or URI (s3://, gs://, …) of the runs; "": $RAYKD_STORAGE, or else ./runs.
    show: print progress.

    Raises UserError for invalid input, RunFailed if the run ended without a result, and KeyboardInterrupt if it was
    stopped, after a checkpoint.
    """
    return Run(path=train_started(start(recipe, name, storage, show)).location)


def train_started(begun: Start) -> driver.Finished:
    """As `train`, for a loaded recipe."""
    check_name(begun.name)
    check(begun.recipe)
    trained = teachers.ensure(begun.loaded, begun.recipe, begun.storage, begun.display)
    return driver.train(begun.loaded, begun.recipe, begun.name, begun.storage, trained, begun.display)


def train_teachers(
    recipe: Recipe | str | Path, *, name: str = "", storage: str | Path = "", show: bool = True
) -> list[Run]:
    """Train the missing teachers of a recipe, as many in parallel as fit; returns the runs of all teachers, in order.

    Arguments and errors as of `train`; also raises UserError if the recipe has no teachers to train.
    """
    return [Run(path=place) for place in teachers_started(start(recipe, name, storage, show))]


def teachers_started(begun: Start) -> list[str]:
    """As `train_teachers`, for a loaded recipe; returns run directories. Raises UserError if there are no teachers."""
    if not teacher_recipes(begun.recipe):
        raise UserError(f"{begun.loaded.path} has no teachers to train: add a `Train` to `teachers.sources`")
    check(begun.recipe)
    return teachers.ensure(begun.loaded, begun.recipe, begun.storage, begun.display)
