"""Accuracy of an ensemble of trained teachers."""

import json
from contextlib import nullcontext
from typing import Any

from raykd import UserError
from raykd.launch.cluster.capacity import with_fixed_workers
from raykd.launch.cluster.connection import connected
from raykd.launch.driver.run_plan import RunPlan
from raykd.launch.trials.tasks import ExperimentSpec, run_tasks
from raykd.output import without_credentials
from raykd.training.update.nonfinite import NotFiniteError


def report(plan: RunPlan, members: list[str]) -> dict[str, Any]:
    """Write ensemble.json: metrics on the evaluation split of each member, and of several members' mean and vote.

    Measured where a worker would run; with `workers=0` in this process. members: their run directories.
    """
    recipe = plan.recipe
    fixed = recipe if recipe.workers == 0 else with_fixed_workers(recipe)
    spec = ExperimentSpec.of(fixed, members, plan.loaded.sources)
    with nullcontext() if recipe.workers == 0 else connected():
        (figures,) = run_tasks(fixed, measure, [(spec,)])
    content = {"name": plan.name, "split": "validation" if recipe.data.validation else "test", **figures}
    plan.run.create()
    plan.run.write("ensemble.json", json.dumps(without_credentials(content), indent=1))
    return content


def measure(spec: ExperimentSpec) -> dict[str, Any]:
    """The metrics of `report` as plain numbers; raises UserError if a teacher's outputs are not finite."""
    from raykd.training.evaluation.ensemble import evaluate_members

    experiment = spec.open()
    networks = {teacher.name: teacher.network for teacher in experiment.teachers}
    try:
        figures = evaluate_members(networks, experiment.test_data.batches(), experiment.autocast)
    except NotFiniteError as error:
        raise UserError(f"teachers: {error}: remove or retrain that teacher") from None
    paths = {teacher.name: teacher.path for teacher in experiment.teachers}
    members = [{"name": member, "path": paths[member], **figures.pop(member)} for member in paths]
    return {"members": members, **figures}
