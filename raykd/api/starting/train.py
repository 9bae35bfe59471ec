"""Training from Python: one run with its teachers, or the teachers alone."""

from pathlib import Path

from raykd import UserError
from raykd.api.run import Run
from raykd.api.starting.plan import plan_run
from raykd.launch.driver import run as driver
from raykd.launch.driver.run_plan import RunPlan
from raykd.launch.driver.validate import check, check_name
from raykd.launch.teachers import train as teachers
from raykd.launch.teachers.plan import teacher_recipes
from raykd.recipe import Recipe
from raykd.recipe.validate import checked


@checked
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
    return Run(path=train_planned(plan_run(recipe, name, storage, show)).location)


def train_planned(plan: RunPlan) -> driver.Finished:
    """As `train`, for a loaded recipe."""
    check_name(plan.name)
    check(plan.recipe)
    return driver.train(plan, teachers.ensure(plan))


@checked
def train_teachers(
    recipe: Recipe | str | Path, *, name: str = "", storage: str | Path = "", show: bool = True
) -> list[Run]:
    """Train the missing teachers of a recipe, as many in parallel as fit; returns the runs of all teachers, in order.

    Arguments and errors as of `train`; also raises UserError if the recipe has no teachers to train.
    """
    return [Run(path=path) for path in train_planned_teachers(plan_run(recipe, name, storage, show))]


def train_planned_teachers(plan: RunPlan) -> list[str]:
    """As `train_teachers`, for a loaded recipe; returns run directories. Raises UserError if there are no teachers."""
    if not teacher_recipes(plan.recipe):
        raise UserError(f"{plan.loaded.path} has no teachers to train: add a `Train` to `teachers.sources`")
    check(plan.recipe)
    return teachers.ensure(plan)
