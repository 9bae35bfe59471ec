"""Teachers of a recipe: found by what determines them, or trained first, each as a run of its own."""

import dataclasses

from raykd import UserError
from raykd.launch import job, rundir
from raykd.launch.display import Display
from raykd.recipe import Recipe, Train
from raykd.recipe.load import Loaded
from raykd.recipe.serial import fingerprint
from raykd.train.storage import Folder


def wanted(recipe: Recipe) -> list[Recipe]:
    """The recipe of every teacher that is to be trained, in order."""
    found = []
    for source in recipe.teachers.sources:
        if isinstance(source, Train):
            found += [dataclasses.replace(source.recipe, seed=seed) for seed in source.seeds]
    return found


def run_name(recipe: Recipe) -> str:
    """Where a teacher stands below the storage: named by its network and by the hash of what determines it."""
    return f"teachers/{recipe.student.name.replace(':', '-').replace('/', '-')}-{fingerprint(recipe)}"


def ensure(loaded: Loaded, recipe: Recipe, storage: str, display: Display) -> list[str]:
    """Run directories of the recipe's teachers; those that are missing are trained, half-trained ones go on."""
    places = []
    for teacher in wanted(recipe):
        run = Folder(storage) / run_name(teacher)
        result = rundir.result_of(run)
        if result is None or result["status"] != "finished":
            _train(loaded, teacher, storage, display)
        else:
            display.console.print(f"teacher {run_name(teacher)}: found, top-1 {100 * result['top1']:.2f} %", highlight=False)
        places.append(run.place)
    return places


def _train(loaded: Loaded, teacher: Recipe, storage: str, display: Display) -> None:
    if wanted(teacher):
        raise UserError("teachers: a teacher's own recipe has teachers to train; train it first and name its run")
    job.train(loaded, teacher, run_name(teacher), storage, [], display)
