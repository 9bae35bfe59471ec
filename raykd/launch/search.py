"""A search over a recipe's fields: trials side by side by Ray Tune, and the test split once, for the best of them."""

import copy
import json
import logging
import math
import time
from dataclasses import dataclass, replace
from typing import Any

from raykd import UserError
from raykd.launch import cluster, ensemble, groups, job, space
from raykd.launch.display import Display
from raykd.launch.standing import Standing
from raykd.launch.suggest import Suggest
from raykd.recipe import Recipe, Search
from raykd.recipe.load import Loaded, override
from raykd.recipe.serial import differences, essence, to_dict
from raykd.recipe.source import to_source
from raykd.train.storage import Folder


@dataclass(frozen=True)
class Found:
    """What a search came to: where it is, search.json, and the trials."""

    place: str
    summary: dict[str, Any]
    standing: Standing


def search(loaded: Loaded, recipe: Recipe, name: str, storage: str, display: Display) -> Found:
    """Run the recipe's search, or go on with it; no trial that finished, was stopped early, or failed is repeated.

    The test split is read at the very end, by the network of the best trial that ran to its end, as it is; the retraining of
    its recipe on the whole training split is left to `best.py`. Raises RunFailed where no trial ran to its end.
    """
    wanted = recipe.search
    places = space.read(wanted)
    base = base_of(recipe)
    check(base, wanted, places)
    place = Folder(storage) / name
    standing = Standing(place, wanted, places)
    with job.only_one(place, display.console.print), cluster.connected():
        cluster.check_room(base)
        opened = _open(standing, loaded, recipe, base, name)
        for teachers in _teachers(base, places):
            ensemble.ensure(loaded, teachers, storage, display)
        began = time.monotonic()
        plan = _plan(loaded, base, name, storage, standing)
        try:
            _run(standing, base, plan, display)
        except job.Interrupted:
            _interrupted(standing, opened, display)
            raise
        seconds = opened["seconds"] + time.monotonic() - began
        return Found(place.place, _close(standing, recipe, base, plan, opened | {"seconds": seconds}), standing)


def base_of(recipe: Recipe) -> Recipe:
    """What all trials have in common: the recipe with a validation part and a fixed number of workers."""
    from raykd.launch.trials import settled

    share = recipe.data.validation or recipe.search.validation
    if not 0 < share < 1:
        raise UserError(f"search: validation is {share}; a search needs a share of the training split between 0 and 1")
    return settled(replace(recipe, search=None, data=replace(recipe.data, validation=share)))


def check(base: Recipe, wanted: Search, places: space.Space) -> None:
    """Raise UserError for what no trial could do: unknown names, values of the wrong type, searchers that don't fit."""
    if wanted.samples < 1 or wanted.max_concurrent < 0:
        raise UserError("search: samples must be 1 or more, max_concurrent 0 or more")
    for field, choices in space.finite(places).items():
        if not choices:
            raise UserError(f"search: {field} has nothing to choose from")
    mutated = list(getattr(wanted.scheduler, "_hyperparam_mutations", {}))
    if not places.fields and not mutated:
        raise UserError("search: the space is empty")
    for pick in space.examples(places, base.seed):
        try:
            job.check(override(base, space.overrides(places, pick)))
        except UserError as error:
            raise UserError(f"search: {error}") from None
    for field in mutated:
        if field not in places.fields:
            raise UserError(f"search: the scheduler changes {field}, which the space does not have; add it there")
        if field.startswith("optimizer.") and field not in ("optimizer.learning_rate", "optimizer.clip_norm"):
            raise UserError(f"search: {field} can't change during training: it is part of the optimizer's state")
    _check_algorithms(base, wanted, places)


def _check_algorithms(base: Recipe, wanted: Search, places: space.Space) -> None:
    for part in (wanted.scheduler, wanted.searcher):
        if getattr(part, "_metric", None) is not None or getattr(part, "metric", None) is not None:
            raise UserError(f"search: leave metric and mode out of {type(part).__name__}; the recipe's search has them")
    if wanted.searcher is not None and places.grids:
        raise UserError(f"search: {next(iter(places.grids))} is a grid, which {type(wanted.searcher).__name__} can't walk; use tune.choice")
    _check_length(base, wanted.scheduler)
    if not swaps(wanted):
        return
    kind = type(wanted.scheduler).__name__
    if base.workers > 1:
        raise UserError(f"search: {kind} pauses and moves trials, which needs workers 1; or use ASHAScheduler")
    if wanted.max_concurrent:
        raise UserError(f"search: max_concurrent can't be lowered with {kind}, which pauses trials to let others run")


def _check_length(base: Recipe, scheduler: Any) -> None:
    """Raise UserError for a scheduler whose own end (100 by default) comes before that of every trial."""
    most = getattr(scheduler, "_max_t", getattr(scheduler, "_max_t_attr", math.inf))
    unit = getattr(scheduler, "_time_attr", "epoch")
    lengths = {"epoch": base.epochs, "training_iteration": math.ceil(base.epochs / base.evaluate_every)}
    if unit in lengths and most < lengths[unit]:
        raise UserError(f"search: max_t {most:g} of {type(scheduler).__name__} ends every trial before its {lengths[unit]:g} {unit}s")


def swaps(wanted: Search) -> bool:
    """Whether the scheduler pauses trials or lets one go on from another's checkpoint."""
    from ray.tune.schedulers import HyperBandScheduler, PopulationBasedTraining

    return isinstance(wanted.scheduler, HyperBandScheduler | PopulationBasedTraining)


def total(wanted: Search, places: space.Space) -> int:
    return wanted.samples * space.grid_points(places)


def _teachers(base: Recipe, places: space.Space) -> list[Recipe]:
    """Recipes whose teachers stand for those of all trials; raises UserError where a search would make endless new ones."""
    import itertools

    fields = [field for field in places.fields if field.split(".")[0] == "teachers"]
    choices = space.finite(places)
    endless = [field for field in fields if field not in choices]
    if endless:
        raise UserError(f"search: {endless[0]} would train new teachers in every trial; search it in the teacher's own recipe")
    found = []
    for point in itertools.product(*(choices[field] for field in fields)):
        pick = dict(zip(fields, point))
        found.append(override(base, {k: places.objects[k][v] if k in places.objects else v for k, v in pick.items()}))
    return found


def _open(standing: Standing, loaded: Loaded, recipe: Recipe, base: Recipe, name: str) -> dict[str, Any]:
    """Make the search's directory, or check that the one there is of the same search; returns its summary."""
    place, wanted = standing.place, standing.search
    place.create()
    summary = {
        "name": name,
        "status": "running",
        "metric": wanted.metric,
        "mode": wanted.mode,
        "samples": wanted.samples,
        "trials": total(wanted, standing.space),
        "validation": base.data.validation,
        "space": space.describe(wanted, standing.space),
        "scheduler": type(wanted.scheduler).__name__ if wanted.scheduler is not None else "",
        "searcher": type(wanted.searcher).__name__ if wanted.searcher is not None else "random",
        "seconds": 0.0,
        "base": json.loads(json.dumps(essence(base))),
    }
    if place.exists("search.json"):
        there = place.read_json("search.json")
        same = ("base", "space", "metric", "mode")
        found = differences({key: there[key] for key in same}, {key: summary[key] for key in same})
        if found:
            raise UserError(
                f"{place.place} holds another search (there / here): {'; '.join(found[:4])}. "
                "Give this one another --name, or remove that directory"
            )
        summary["seconds"] = there["seconds"]
        if "test" in there:
            summary |= {"tested": there["best"], "test": there["test"]}
    place.write("search.json", json.dumps(summary, indent=1))
    for file, text in loaded.sources.items():
        place.write(f"source/{file}", text)
    standing.read()
    return summary


def _plan(loaded: Loaded, base: Recipe, name: str, storage: str, standing: Standing) -> dict[str, Any]:
    """What a trial's process needs to know, see `trial.trial_of_search`."""
    import ray

    from raykd.launch.trials import board_for

    return {
        "base": to_dict(base),
        "sources": loaded.sources,
        "space": ray.cloudpickle.dumps(standing.space),
        "place": standing.place.place,
        "name": name,
        "storage": storage,
        "board": board_for(base),
        "metric": standing.search.metric,
        "git": job.git_commit(loaded.path.parent),
        "swaps": swaps(standing.search),
    }


def _run(standing: Standing, base: Recipe, plan: dict[str, Any], display: Display) -> None:
    """Run the trials that are left."""
    from raykd.launch.trial import trial_of_search
    from raykd.launch.trials import Trials, at_once, run
    from raykd.launch.watch import Watch, error_of

    wanted, together = standing.search, at_once(base)
    limit = min(together, wanted.max_concurrent or together)
    count = total(wanted, standing.space)
    logging.getLogger("optuna").setLevel(logging.WARNING)
    inner = copy.deepcopy(wanted.searcher)
    # A scheduler that pauses trials starts others meanwhile; then the cluster's resources alone keep order.
    suggest = Suggest(standing, standing.space, inner, base.seed, count, 0 if swaps(wanted) else limit)
    left = suggest.left
    display.console.print(
        f"[bold]{plan['name']}[/]: {count} trials, {left} to run, {limit} at once on {cluster.needs(base)} × {base.workers}",
        highlight=False,
    )
    if not left:
        return
    groups.reap()
    watch = Watch(standing, display.console, count, error_of)
    options = {"search_alg": suggest, "num_samples": left, "scheduler": copy.deepcopy(wanted.scheduler)}
    options |= {"metric": wanted.metric, "mode": wanted.mode}

    def trainable(config: dict[str, Any]) -> None:
        trial_of_search(config, plan)

    with watch.shown():
        run(
            Trials(
                trainable=trainable, recipe=base, space={}, options=options, callback=watch, scratch=standing.place
            )
        )
    standing.read()


def _interrupted(standing: Standing, summary: dict[str, Any], display: Display) -> None:
    standing.read()
    standing.write_table()
    counts = standing.counts()
    standing.place.write("search.json", json.dumps(summary | {"status": "interrupted", "states": counts}, indent=1))
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    display.console.print(f"interrupted ({told}); the same command goes on from here", highlight=False)


def _close(standing: Standing, recipe: Recipe, base: Recipe, plan: dict[str, Any], summary: dict[str, Any]) -> dict[str, Any]:
    """Measure the best trial on the test split, once, and write search.json, trials.csv and best.py."""
    standing.write_table()
    best, tested = standing.best(), summary.pop("tested", "")
    summary |= {"status": "finished", "states": standing.counts()}
    if best is None:
        summary["status"] = "failed"
        standing.place.write("search.json", json.dumps(summary, indent=1))
        reasons = "; ".join(f"{t.name}: {t.reason or t.state}" for t in list(standing.trials.values())[:3])
        raise job.RunFailed(f"no trial of {standing.place.place} ran to its end ({reasons})")
    if tested != best.name:
        summary["test"] = _test(standing.run(best.name).place, base, plan)
    chosen = space.values(standing.space, best.pick)
    summary |= {"best": best.name, "best_metric": best.metric, "values": chosen}
    overrides = space.overrides(standing.space, best.pick)
    standing.place.write("best.py", to_source(replace(override(replace(recipe, search=None), overrides)), _about(summary)))
    standing.place.write("search.json", json.dumps(summary, indent=1))
    return summary


def _about(summary: dict[str, Any]) -> str:
    """Docstring of best.py."""
    values = "\n".join(f"    {field} = {value}" for field, value in summary["values"].items())
    swapped = "PopulationBased" in summary["scheduler"] or summary["scheduler"] == "PB2"
    schedule = (
        f"\nPopulation Based Training changed values on the way: these are the last ones, trials/{summary['best']}/swaps.jsonl "
        "has their history.\n"
        if swapped
        else ""
    )
    return (
        f"The best of {summary['trials']} trials of the search {summary['name']}.\n\n{values}\n\n"
        f"{summary['metric']} {summary['best_metric']:.4f} on {summary['validation']:g} of the training split, held out; "
        f"on the test split, measured once:\ntop-1 {summary['test']['top1']:.4f}. `raykd train` of this file trains on the "
        f"whole training split.\n{schedule}"
    )


def _test(run: str, base: Recipe, plan: dict[str, Any]) -> dict[str, float]:
    """The deployed network's figures on the test split, computed where a worker would run."""
    import ray

    from raykd.launch.trials import of_task

    task = ray.remote(**of_task(base))(test_figures)
    return ray.get(task.remote(run, {"sources": plan["sources"], "git": plan["git"]}, base.gpus_per_worker > 0))


def test_figures(run: str, about: dict[str, Any], gpu: bool) -> dict[str, float]:
    """top1, top5, loss and ece of a run's deployed network on the test split."""
    import tempfile
    from pathlib import Path

    import torch

    from raykd.launch.worker import Worker, set_threads
    from raykd.recipe.load import materialize
    from raykd.train.assemble import recipe_of
    from raykd.train.checkpoint import newest

    with tempfile.TemporaryDirectory(prefix="raykd-source-") as folder:
        materialize(about["sources"], Path(folder))
        place = Folder(run)
        recipe = recipe_of(place, trusted=True)
        recipe = replace(recipe, data=replace(recipe.data, validation=0.0))
        set_threads(recipe.cpus_per_worker)
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
