"""The best trial of a search: one evaluation on the test split, and its recipe as a file."""

from contextlib import closing
from dataclasses import replace

import ray

from raykd import UserError
from raykd.launch.job_spec import unpack
from raykd.launch.search.summary import Best, Summary
from raykd.launch.trials.tuner import task_options
from raykd.recipe import Recipe
from raykd.runs.directory import trained_teachers
from raykd.runs.recipe import recipe_of
from raykd.storage.folder import Folder


def docstring(summary: Summary, best: Best) -> str:
    """The docstring of best.py."""
    values = "\n".join(f"    {field} = {value}" for field, value in best.values.items())
    swapped = "PopulationBased" in summary.scheduler or summary.scheduler == "PB2"
    schedule = (
        f"\nPopulation Based Training changed values during training: these are the last ones, "
        f"trials/{best.trial}/swaps.jsonl has their history.\n"
        if swapped
        else ""
    )
    return (
        f"The best of {summary.trials} trials of the search {summary.name}.\n\n{values}\n\n"
        f"{summary.metric} {best.metric:.4f} on {summary.validation:g} of the training split, held "
        f"out; on the test split, measured once:\ntop-1 {best.test['top1']:.4f}. "
        f"`raykd train` of this file trains on the whole training split.\n{schedule}"
    )


def test(run: str, base: Recipe, sources: dict[str, str]) -> dict[str, float]:
    """The deployed network's metrics on the test split, computed where a worker would run."""
    task = ray.remote(**task_options(base))(test_figures)
    return ray.get(task.remote(run, sources))


def test_figures(run: str, sources: dict[str, str]) -> dict[str, float]:
    """top1, top5, loss, ece and custom metrics of a run's deployed network on the test split.

    Raises UserError if the run has no readable checkpoint.
    """
    from raykd.runs.checkpoints.checkpoint import newest
    from raykd.training.evaluation.evaluate import evaluate
    from raykd.training.setup import open_alone

    unpack(sources)
    folder = Folder(run)
    recipe = recipe_of(folder, trusted=True)
    recipe = replace(recipe, data=replace(recipe.data, validation=0.0))
    with closing(open_alone(recipe, trained_teachers(folder))) as experiment:
        state = experiment.new_state()
        checkpoint = newest(folder, print)
        if checkpoint is None:
            raise UserError(f"{folder} has no readable checkpoint to evaluate: restore one from a copy")
        state.restore(checkpoint[0])
        distiller, batches = state.evaluated.eval(), experiment.test_data.batches()
        networks, _ = evaluate(distiller.predict, batches, experiment.autocast, {}, metrics=recipe.metrics)
    figures = next(iter(networks.values()))
    return {**figures.means, "ece": figures.ece}
