"""Hyper-parameter search: parallel trials by Ray Tune, and one evaluation of the best of them on the test split."""

import copy
import json
import logging
import time
from dataclasses import dataclass, replace
from typing import Any

from ray.tune.schedulers import PopulationBasedTraining
from ray.tune.search.basic_variant import BasicVariantGenerator
from rich.text import Text

from raykd import UserError
from raykd.data.staging import publish
from raykd.data.storage.prepare import prepare
from raykd.launch.cluster import connection, placement_groups, signals
from raykd.launch.cluster.failure import RunFailed
from raykd.launch.cluster.signals import Interrupted
from raykd.launch.driver import run as job
from raykd.launch.driver.display import Display
from raykd.launch.jobs import wandb_key
from raykd.launch.search import best_trial, space
from raykd.launch.search.searcher import Suggest
from raykd.launch.search.trial import SearchPlan, trial_of_search
from raykd.launch.search.trial_table import TrialTable
from raykd.launch.search.validate import base_of, check, search_of, swaps, teachers_of, total
from raykd.launch.teachers import train as ensemble
from raykd.output import masked, without_credentials
from raykd.recipe import Recipe
from raykd.recipe.fingerprint import VERSION, differences, essence, of_earlier_version
from raykd.recipe.load import Loaded, override
from raykd.recipe.serial import to_dict
from raykd.recipe.source import to_source
from raykd.runs import directory
from raykd.runs.source_version import git_commit
from raykd.storage.folder import Folder


@dataclass(frozen=True)
class FinishedSearch:
    """A finished search: its directory, the content of search.json, and the trials."""

    place: str
    summary: dict[str, Any]
    table: TrialTable

    @property
    def pick(self) -> dict[str, Any]:
        """The sampled values of the best trial."""
        return self.table.trials[self.summary["best"]].pick


def search(loaded: Loaded, recipe: Recipe, name: str, storage: str, display: Display) -> FinishedSearch:
    """Run or resume the recipe's search; trials that finished, were stopped early, or failed are not repeated.

    At the end, the network of the best completed trial is evaluated on the test split without retraining; `best.py`
    retrains its recipe on the whole training split. Raises RunFailed if no trial was completed.
    """
    wanted = search_of(recipe)
    places = space.read(wanted)
    base = base_of(recipe)
    check(base, wanted, places)
    _expect_images(base)
    place = Folder(storage) / name
    table = TrialTable(place, wanted, places)
    with job.only_one(place, display.console.print), connection.connected():
        connection.check_capacity(base)
        opened = _open(table, loaded, recipe, base, name)
        publish(base.data, display.note)
        for teachers in teachers_of(base, places):
            ensemble.ensure(loaded, teachers, storage, display)
        began = time.monotonic()
        plan = _plan(loaded, base, name, storage, table)
        try:
            _run(table, base, plan, display)
        except Interrupted:
            _interrupted(table, opened, display)
            raise
        seconds = opened["seconds"] + time.monotonic() - began
        return FinishedSearch(place.place, _close(table, recipe, base, plan, opened | {"seconds": seconds}), table)


def _expect_images(base: Recipe) -> None:
    """Raise UserError if every trial would lack training or validation images; checked only if the data are here."""
    from raykd.data.loader import check_split

    with signals.at_once():
        try:
            prepared = prepare(base.data)
        except UserError:  # the nodes may have data that this machine lacks; the trials report errors there
            return
    check_split(base.data, prepared)


def _open(table: TrialTable, loaded: Loaded, recipe: Recipe, base: Recipe, name: str) -> dict[str, Any]:
    """Create the search's directory, or check that the existing one is of the same search; returns its summary."""
    place, wanted = table.place, table.search
    place.create()
    summary: dict[str, Any] = {
        "name": name,
        "status": "running",
        "metric": wanted.metric,
        "mode": wanted.mode,
        "samples": wanted.samples,
        "trials": total(wanted, table.space),
        "repeats": wanted.repeats,
        "validation": base.data.validation,
        "space": space.describe(wanted, table.space),
        "scheduler": type(wanted.scheduler).__name__ if wanted.scheduler is not None else "",
        "searcher": type(wanted.searcher).__name__ if wanted.searcher is not None else "random",
        "seconds": 0.0,
        "wandb": {"entity": base.wandb.entity, "project": base.wandb.project, "group": name},
        "version": VERSION,
        "base": essence(base, defaults=False),
    }
    summary = json.loads(_text(summary))
    if place.exists("search.json"):
        there = place.read_json("search.json")
        if "version" not in there:
            there["base"] = of_earlier_version(there["base"], summary["base"])
        there = {"repeats": 1} | there  # written by versions without repeats
        same = ("base", "space", "metric", "mode", "repeats")
        found = differences({key: there[key] for key in same}, {key: summary[key] for key in same})
        if found:
            raise UserError(
                f"{place} holds another search (there / here): {'; '.join(found[:4])}. "
                "Give this one another --name, or remove that directory"
            )
        summary["seconds"] = there["seconds"]
        if "test" in there:
            summary |= {"tested": there["best"], "test": there["test"]}
    place.write("search.json", _text(summary))
    directory.write_sources(place, loaded)
    table.read()
    return summary


def _plan(loaded: Loaded, base: Recipe, name: str, storage: str, table: TrialTable) -> SearchPlan:
    import ray

    return SearchPlan(
        base=to_dict(base),
        sources=loaded.sources,
        space=ray.cloudpickle.dumps(table.space),
        place=table.place.place,
        name=name,
        storage=storage,
        key=wandb_key.held_for(base),
        metric=table.search.metric,
        git=git_commit(loaded.path.parent),
        swaps=swaps(table.search),
        repeats=table.search.repeats,
    )


def _run(table: TrialTable, base: Recipe, plan: SearchPlan, display: Display) -> None:
    """Run the remaining trials."""
    from raykd.launch.search.progress import SearchProgress
    from raykd.launch.trials.progress import error_of
    from raykd.launch.trials.tuner import Trials, at_once, run

    wanted, together = table.search, at_once(base)
    limit = min(together, wanted.max_concurrent or together)
    count = total(wanted, table.space)
    logging.getLogger("optuna").setLevel(logging.WARNING)
    inner = copy.deepcopy(wanted.searcher)
    # A scheduler that pauses trials starts others meanwhile, so only the cluster's resources limit their number.
    suggest = Suggest(table, table.space, inner, base.seed, count, 0 if swaps(wanted) else limit)
    left = suggest.left
    needed = f"{base.workers} × {connection.needs(base)}"
    display.console.print(
        Text.assemble((plan.name, "bold"), f": {count} trials, {left} to run, {limit} at once on {needed}")
    )
    if not left:
        return
    placement_groups.reap()
    watch = SearchProgress(table, display.console, count, error_of)
    options = {"search_alg": suggest, "num_samples": left, "scheduler": copy.deepcopy(wanted.scheduler)}
    options |= {"metric": wanted.metric, "mode": wanted.mode}
    domains: dict[str, Any] = {}
    if isinstance(wanted.scheduler, PopulationBasedTraining):
        points, domains = suggest.population()
        options["search_alg"] = BasicVariantGenerator(points_to_evaluate=points)

    def trainable(config: dict[str, Any]) -> None:
        trial_of_search(config, plan)

    place = table.place
    with watch.shown():
        run(Trials(trainable=trainable, kinds=(base,), space=domains, options=options, callback=watch, scratch=place))
    table.read()


def _interrupted(table: TrialTable, summary: dict[str, Any], display: Display) -> None:
    table.read()
    table.write_table()
    counts = table.counts()
    table.place.write("search.json", _text(summary | {"status": "interrupted", "states": counts}))
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    display.console.print(f"interrupted ({told}); the same command continues from here")


def _close(
    table: TrialTable, recipe: Recipe, base: Recipe, plan: SearchPlan, summary: dict[str, Any]
) -> dict[str, Any]:
    """Measure the best trial on the test split, once, and write search.json, trials.csv and best.py."""
    table.write_table()
    best, tested = table.best(), summary.pop("tested", "")
    summary |= {"status": "finished", "states": table.counts()}
    if best is None:
        summary["status"] = "failed"
        table.place.write("search.json", _text(summary))
        reasons = "; ".join(f"{t.name}: {t.reason or t.state}" for t in list(table.trials.values())[:3])
        raise RunFailed(f"no trial of {table.place.place} ran to its end ({reasons})")
    if tested != best.name:
        summary["test"] = best_trial.test(table.run(best.name).place, base, plan.sources)
    chosen = space.values(table.space, best.pick)
    summary |= {"best": best.name, "best_metric": best.metric, "values": chosen}
    overrides = space.overrides(table.space, best.pick)
    best_recipe = override(replace(recipe, search=None), overrides)
    table.place.write("best.py", masked(to_source(best_recipe, best_trial.docstring(summary))))
    table.place.write("search.json", _text(summary))
    return summary


def _text(summary: dict[str, Any]) -> str:
    return json.dumps(without_credentials(summary), indent=1)
