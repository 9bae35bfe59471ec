"""Accuracy of an ensemble of trained teachers."""

import json
from contextlib import closing
from typing import Any

import ray

from raykd import UserError
from raykd.launch.cluster import connection
from raykd.launch.job_spec import unpack
from raykd.launch.trials.tuner import task_options, with_fixed_workers
from raykd.output import without_credentials
from raykd.recipe import Recipe
from raykd.recipe.files.load import Loaded
from raykd.recipe.serial import from_dict, to_dict
from raykd.storage.folder import Folder
from raykd.training.update.nonfinite import NotFiniteError


def report(loaded: Loaded, recipe: Recipe, name: str, storage: str, places: list[str]) -> dict[str, Any]:
    """Write ensemble.json: metrics on the evaluation split of each member, and of several members' mean and vote.

    Measured where a worker would run; with `workers=0` in this process. places: the members' run directories.
    """
    if recipe.workers == 0:
        figures = measure(to_dict(recipe), places, {})
    else:
        fixed = with_fixed_workers(recipe)
        with connection.connected():
            task = ray.remote(**task_options(fixed))(measure)
            figures = ray.get(task.remote(to_dict(fixed), places, loaded.sources))
    content = {"name": name, "split": "validation" if recipe.data.validation else "test", **figures}
    folder = Folder(storage) / name
    folder.create()
    folder.write("ensemble.json", json.dumps(without_credentials(content), indent=1))
    return content


def measure(recipe: dict[str, Any], places: list[str], sources: dict[str, str]) -> dict[str, Any]:
    """The metrics of `report` as plain numbers; `places` are the teachers' run directories.

    Raises UserError if a teacher's outputs are not finite.
    """
    from raykd.training.evaluation.ensemble import evaluate_members
    from raykd.training.setup import open_alone

    unpack(sources)
    with closing(open_alone(from_dict(recipe), places)) as experiment:
        networks = {teacher.name: teacher.network for teacher in experiment.teachers}
        try:
            figures = evaluate_members(networks, experiment.test_data.batches(), experiment.autocast)
        except NotFiniteError as error:
            raise UserError(f"teachers: {error}: remove or retrain that teacher") from None
        paths = {teacher.name: teacher.path for teacher in experiment.teachers}
    members = [{"name": member, "path": paths[member], **figures.pop(member)} for member in paths]
    return {"members": members, **figures}
