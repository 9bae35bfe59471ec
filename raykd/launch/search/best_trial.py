"""The best trial of a search: its network on the test split, once, and its recipe as a file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from raykd.recipe import Recipe
from raykd.storage.atomic import temporary_folder
from raykd.storage.folder import Folder


def docstring(summary: dict[str, Any]) -> str:
    """Docstring of best.py."""
    values = "\n".join(f"    {field} = {value}" for field, value in summary["values"].items())
    swapped = "PopulationBased" in summary["scheduler"] or summary["scheduler"] == "PB2"
    schedule = (
        f"\nPopulation Based Training changed values on the way: these are the last ones, "
        f"trials/{summary['best']}/swaps.jsonl has their history.\n"
        if swapped
        else ""
    )
    return (
        f"The best of {summary['trials']} trials of the search {summary['name']}.\n\n{values}\n\n"
        f"{summary['metric']} {summary['best_metric']:.4f} on {summary['validation']:g} of the training split, held "
        f"out; on the test split, measured once:\ntop-1 {summary['test']['top1']:.4f}. "
        f"`raykd train` of this file trains on the whole training split.\n{schedule}"
    )


def test(run: str, base: Recipe, plan: dict[str, Any]) -> dict[str, float]:
    """The deployed network's figures on the test split, computed where a worker would run."""
    import ray

    from raykd.launch.trials.tuner import of_task

    task = ray.remote(**of_task(base))(test_figures)
    return ray.get(task.remote(run, {"sources": plan["sources"], "git": plan["git"]}, base.gpus_per_worker > 0))


def test_figures(run: str, about: dict[str, Any], gpu: bool) -> dict[str, float]:
    """top1, top5, loss and ece of a run's deployed network on the test split."""
    import torch

    from raykd.launch.worker.worker import Worker, use_cpus
    from raykd.recipe.load import materialize
    from raykd.runs.checkpoint import newest
    from raykd.runs.recipe import recipe_of

    with temporary_folder() as folder:
        materialize(about["sources"], Path(folder))
        place = Folder(run)
        recipe = recipe_of(place, trusted=True)
        recipe = replace(recipe, data=replace(recipe.data, validation=0.0))
        use_cpus(recipe.cpus_per_worker)
        read = {"run": run, "trained": place.read_json("teachers.json"), **about}
        device = torch.device("cuda", 0) if gpu else torch.device("cpu")
        worker = Worker(read, recipe, 0, 1, device, lambda metrics: None, None)
        try:
            worker.state.restore(newest(place, print)[0])
            worker.teacher_logits = {}
            worker.evaluate(worker.state.evaluated)
            figures = worker.figures[worker.deployed]
        finally:
            worker.close()
    return {"top1": figures.top1, "top5": figures.top5, "loss": figures.loss, "ece": figures.ece}
