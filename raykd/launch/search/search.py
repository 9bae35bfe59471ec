"""Hyper-parameter search: parallel trials by Ray Tune, and one evaluation of the best of them on the test split."""

import copy
import logging
import time
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.tune.search.basic_variant import BasicVariantGenerator
from rich.text import Text

from raykd import UserError
from raykd.data.storage.prepare import prepare
from raykd.data.storage.staging import publish
from raykd.launch.cluster import capacity, placement_groups, signals
from raykd.launch.cluster.connection import connected
from raykd.launch.cluster.signals import Interrupted
from raykd.launch.driver.display import Display
from raykd.launch.driver.run_plan import RunPlan
from raykd.launch.driver.validate import check_name
from raykd.launch.job_spec import git_commit
from raykd.launch.jobs import wandb_key
from raykd.launch.run_state.failure import RunFailed
from raykd.launch.search.progress import SearchProgress
from raykd.launch.search.searcher import Suggest, picks
from raykd.launch.search.setup import setup_of
from raykd.launch.search.summary import Summary
from raykd.launch.search.trial import TrialSpec, trial_of_search
from raykd.launch.search.trial_table import TrialTable
from raykd.launch.teachers.train import ensure
from raykd.launch.trials.tasks import ExperimentSpec, run_tasks
from raykd.launch.trials.tuner import run
from raykd.output import masked
from raykd.recipe import Recipe
from raykd.recipe.changes import change
from raykd.recipe.files.python_source import to_source
from raykd.recipe.serial import to_dict
from raykd.runs import directory
from raykd.runs.recipe import recipe_of
from raykd.storage.folder import Folder
from raykd.storage.lease import held


@dataclass(frozen=True)
class FinishedSearch:
    """A finished search: its trials, and its summary with the best of them."""

    table: TrialTable
    summary: Summary

    @property
    def location(self) -> str:
        """The search's directory."""
        return self.table.folder.location

    @property
    def overrides(self) -> dict[str, Any]:
        """The values of the best trial by dotted field name, as objects."""
        return self.table.setup.space.overrides(self.table.trials[self.summary.best].pick)


def search(plan: RunPlan) -> FinishedSearch:
    """Run or resume the recipe's search; trials that finished, were stopped early, or failed are not repeated.

    At the end, the network of the best completed trial is evaluated on the test split without retraining; `best.py`
    retrains its recipe on the whole training split. Raises RunFailed if no trial was completed.
    """
    check_name(plan.name)
    setup = setup_of(plan.recipe)
    _expect_images(setup.base)
    table = TrialTable(plan.run, setup)
    with held(table.folder, plan.display.console.print), connected():
        capacity.check_capacity(setup.base)
        summary = _open(table, plan)
        publish(setup.base.data, plan.display.note)
        for recipe in setup.with_teachers():
            ensure(replace(plan, recipe=recipe))
        began = time.monotonic()
        try:
            _run(table, plan)
        except Interrupted:
            _interrupted(table, summary, plan.display)
            raise
        return _close(table, plan, replace(summary, seconds=summary.seconds + time.monotonic() - began))


def _expect_images(base: Recipe) -> None:
    """Raise UserError if every trial would lack training or validation images; checked only if the data are here."""
    from raykd.data.subsets import check_split

    with signals.at_once():
        try:
            prepared = prepare(base.data)
        except UserError:  # the nodes may have data that this machine lacks; the trials report errors there
            return
    check_split(base.data, prepared)


def _open(table: TrialTable, plan: RunPlan) -> Summary:
    """Create the search's directory, or check that the existing one is of the same search."""
    table.folder.create()
    summary = Summary.of(table.setup, plan.name).continuing(table.folder)
    summary.write(table.folder)
    directory.write_sources(table.folder, plan.loaded.sources)
    table.read()
    return summary


def _trial_spec(table: TrialTable, plan: RunPlan) -> TrialSpec:
    """What all trials share."""
    setup = table.setup
    return TrialSpec(
        base=to_dict(setup.base),
        sources=plan.loaded.sources,
        space=ray.cloudpickle.dumps(setup.space),
        folder=table.folder.location,
        name=plan.name,
        storage=plan.storage,
        key=wandb_key.held_for(setup.base),
        metric=setup.search.metric,
        git=git_commit(plan.loaded.path.parent),
        swaps=setup.swaps,
        repeats=setup.search.repeats,
    )


def _run(table: TrialTable, plan: RunPlan) -> None:
    """Run the remaining trials."""
    setup, left = table.setup, len(table.remaining())
    most = capacity.concurrent_runs(setup.base)
    limit = min(most, setup.search.max_concurrent or most)
    needed = f"{setup.base.workers} × {capacity.needs(setup.base)}"
    counts = f": {setup.trials} trials, {left} to run, {limit} at once on {needed}"
    plan.display.console.print(Text.assemble((plan.name, "bold"), counts))
    if left:
        placement_groups.reap()
        # A scheduler that pauses trials starts others meanwhile, so only the cluster's resources limit their number.
        _tune(table, _trial_spec(table, plan), 0 if setup.swaps else limit, plan.display)
        table.read()


def _tune(table: TrialTable, spec: TrialSpec, limit: int, display: Display) -> None:
    """limit: maximum number of concurrent trials; 0: as many as Tune can place."""
    logging.getLogger("optuna").setLevel(logging.WARNING)
    search = table.setup.search
    options: dict[str, Any]
    if search.searcher is not None:
        suggest = Suggest(table, copy.deepcopy(search.searcher))
        options = {"search_alg": suggest, "max_concurrent_trials": limit or None}
    else:
        points = picks(table)
        generator = BasicVariantGenerator(points_to_evaluate=points, max_concurrent=limit)
        options = {"search_alg": generator, "space": dict.fromkeys(points[0])}  # Tune wants the names of all values
    progress = SearchProgress(table, display.console)

    def trainable(config: dict[str, Any]) -> None:
        trial_of_search(config, spec)

    with progress.shown():
        run(
            trainable,
            kinds=[table.setup.base],
            callback=progress,
            scratch=table.folder,
            scheduler=copy.deepcopy(search.scheduler),
            metric=search.metric,
            mode=search.mode,
            num_samples=len(table.remaining()),
            **options,
        )


def _interrupted(table: TrialTable, summary: Summary, display: Display) -> None:
    table.read()
    table.write_table()
    counts = table.counts()
    replace(summary, status="interrupted", states=counts).write(table.folder)
    states = ", ".join(f"{count} {state}" for state, count in counts.items())
    display.console.print(f"interrupted ({states}); the same command continues from here")


def _close(table: TrialTable, plan: RunPlan, summary: Summary) -> FinishedSearch:
    """Measure the best trial on the test split, once, and write search.json, trials.csv and best.py."""
    table.write_table()
    summary, trial = replace(summary, states=table.counts()), table.best()
    if trial is None or trial.metric is None:
        replace(summary, status="failed", best="").write(table.folder)
        reasons = "; ".join(f"{t.name}: {t.reason or t.state}" for t in list(table.trials.values())[:3])
        raise RunFailed(f"no trial of {table.folder.location} finished ({reasons})")
    test = summary.test if summary.best == trial.name else _test(table, trial.name, plan.loaded.sources)
    values = table.setup.space.values(trial.pick)
    summary = replace(summary, status="finished", best=trial.name, best_metric=trial.metric, values=values, test=test)
    finished = FinishedSearch(table, summary)
    best_recipe = change(replace(plan.recipe, search=None), finished.overrides)
    table.folder.write("best.py", masked(to_source(best_recipe, summary.docstring())))
    summary.write(table.folder)
    return finished


def _test(table: TrialTable, trial: str, sources: dict[str, str]) -> dict[str, float]:
    """top1, top5, loss, ece and custom metrics of a trial's deployed network on the test split."""
    run = table.run(trial)
    recipe = recipe_of(run, trusted=True)
    recipe = replace(recipe, data=replace(recipe.data, validation=0.0))
    spec = ExperimentSpec.of(recipe, directory.trained_teachers(run), sources)
    (metrics,) = run_tasks(table.setup.base, _metrics, [(spec, run.location)])
    return metrics


def _metrics(spec: ExperimentSpec, run: str) -> dict[str, float]:
    """`_test` where a worker would run; raises UserError if the run has no readable checkpoint."""
    from raykd.training.evaluation.newest import evaluate_newest

    networks, _ = evaluate_newest(spec.open(), Folder(run), print)
    return next(iter(networks.values()))
