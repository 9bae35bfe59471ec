"""Hyper-parameter search: parallel trials by Ray Tune, and one evaluation of the best of them on the test split."""

import copy
import logging
import time
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.tune.schedulers import PopulationBasedTraining
from ray.tune.search.basic_variant import BasicVariantGenerator
from rich.text import Text

from raykd import UserError
from raykd.data.storage.prepare import prepare
from raykd.data.storage.staging import publish
from raykd.launch.cluster import capacity, placement_groups, signals
from raykd.launch.cluster.connection import connected
from raykd.launch.cluster.signals import Interrupted
from raykd.launch.driver.display import Display
from raykd.launch.driver.validate import check_name
from raykd.launch.job_spec import git_commit
from raykd.launch.jobs import wandb_key
from raykd.launch.run_state.failure import RunFailed
from raykd.launch.search import space
from raykd.launch.search.searcher import Suggest
from raykd.launch.search.summary import Best, Summary
from raykd.launch.search.trial import SearchPlan, trial_of_search
from raykd.launch.search.trial_table import TrialTable
from raykd.launch.search.validate import base_of, check, search_of, swaps, teachers_of, total
from raykd.launch.teachers.train import ensure
from raykd.launch.trials.tasks import ExperimentSpec, run_tasks
from raykd.launch.trials.tuner import Trials, run
from raykd.output import masked
from raykd.recipe import Recipe
from raykd.recipe.changes import change
from raykd.recipe.files.load import Loaded
from raykd.recipe.files.python_source import to_source
from raykd.recipe.serial import to_dict
from raykd.runs import directory
from raykd.runs.recipe import recipe_of
from raykd.storage.folder import Folder
from raykd.storage.lease import held


@dataclass(frozen=True)
class FinishedSearch:
    """A finished search: its directory, its summary, its best trial, and all trials."""

    location: str
    summary: Summary
    best: Best
    table: TrialTable

    @property
    def overrides(self) -> dict[str, Any]:
        """The values of the best trial by dotted field name, as objects."""
        return space.overrides(self.table.space, self.table.trials[self.best.trial].pick)


def search(loaded: Loaded, recipe: Recipe, name: str, storage: str, display: Display) -> FinishedSearch:
    """Run or resume the recipe's search; trials that finished, were stopped early, or failed are not repeated.

    At the end, the network of the best completed trial is evaluated on the test split without retraining; `best.py`
    retrains its recipe on the whole training split. Raises RunFailed if no trial was completed.
    """
    check_name(name)
    settings = search_of(recipe)
    searched = space.read(settings)
    base = base_of(recipe)
    check(base, settings, searched)
    _expect_images(base)
    folder = Folder(storage) / name
    table = TrialTable(folder, settings, searched)
    with held(folder, display.console.print), connected():
        capacity.check_capacity(base)
        opened = _open(table, loaded, base, name)
        publish(base.data, display.note)
        for teachers in teachers_of(base, searched):
            ensure(loaded, teachers, storage, display)
        began = time.monotonic()
        plan = _plan(loaded, base, name, storage, table)
        try:
            _run(table, base, plan, display)
        except Interrupted:
            _interrupted(table, opened, display)
            raise
        lasted = replace(opened, seconds=opened.seconds + time.monotonic() - began)
        return _close(table, recipe, base, plan, lasted)


def _expect_images(base: Recipe) -> None:
    """Raise UserError if every trial would lack training or validation images; checked only if the data are here."""
    from raykd.data.subsets import check_split

    with signals.at_once():
        try:
            prepared = prepare(base.data)
        except UserError:  # the nodes may have data that this machine lacks; the trials report errors there
            return
    check_split(base.data, prepared)


def _open(table: TrialTable, loaded: Loaded, base: Recipe, name: str) -> Summary:
    """Create the search's directory, or check that the existing one is of the same search."""
    table.folder.create()
    summary = Summary.of(table.search, table.space, base, name).continuing(table.folder)
    summary.write(table.folder)
    directory.write_sources(table.folder, loaded.sources)
    table.read()
    return summary


def _plan(loaded: Loaded, base: Recipe, name: str, storage: str, table: TrialTable) -> SearchPlan:
    return SearchPlan(
        base=to_dict(base),
        sources=loaded.sources,
        space=ray.cloudpickle.dumps(table.space),
        folder=table.folder.location,
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
    search, most = table.search, capacity.concurrent_runs(base)
    limit = min(most, search.max_concurrent or most)
    count = total(search, table.space)
    logging.getLogger("optuna").setLevel(logging.WARNING)
    inner = copy.deepcopy(search.searcher)
    # A scheduler that pauses trials starts others meanwhile, so only the cluster's resources limit their number.
    suggest = Suggest(table, table.space, inner, base.seed, count, 0 if swaps(search) else limit)
    needed = f"{base.workers} × {capacity.needs(base)}"
    display.console.print(
        Text.assemble((plan.name, "bold"), f": {count} trials, {suggest.left} to run, {limit} at once on {needed}")
    )
    if suggest.left:
        placement_groups.reap()
        _tune(table, base, plan, suggest, display)
        table.read()


def _tune(table: TrialTable, base: Recipe, plan: SearchPlan, suggest: Suggest, display: Display) -> None:
    from raykd.launch.search.progress import SearchProgress

    search = table.search
    domains: dict[str, Any] = {}
    options = {"search_alg": suggest, "num_samples": suggest.left, "scheduler": copy.deepcopy(search.scheduler)}
    options |= {"metric": search.metric, "mode": search.mode}
    if isinstance(search.scheduler, PopulationBasedTraining):
        points, domains = suggest.population()
        options["search_alg"] = BasicVariantGenerator(points_to_evaluate=points)

    def trainable(config: dict[str, Any]) -> None:
        trial_of_search(config, plan)

    progress = SearchProgress(table, display.console, total(search, table.space))
    trials = Trials(
        trainable=trainable, kinds=(base,), space=domains, options=options, callback=progress, scratch=table.folder
    )
    with progress.shown():
        run(trials)


def _interrupted(table: TrialTable, summary: Summary, display: Display) -> None:
    table.read()
    table.write_table()
    counts = table.counts()
    replace(summary, status="interrupted", states=counts).write(table.folder)
    states = ", ".join(f"{count} {state}" for state, count in counts.items())
    display.console.print(f"interrupted ({states}); the same command continues from here")


def _close(table: TrialTable, recipe: Recipe, base: Recipe, plan: SearchPlan, opened: Summary) -> FinishedSearch:
    """Measure the best trial on the test split, once, and write search.json, trials.csv and best.py."""
    table.write_table()
    ended, trial = replace(opened, states=table.counts()), table.best()
    if trial is None or trial.metric is None:
        replace(ended, status="failed", best=None).write(table.folder)
        reasons = "; ".join(f"{t.name}: {t.reason or t.state}" for t in list(table.trials.values())[:3])
        raise RunFailed(f"no trial of {table.folder.location} finished ({reasons})")
    if opened.best is not None and opened.best.trial == trial.name:
        test = opened.best.test
    else:
        test = _test(table.run(trial.name), base, plan.sources)
    best = Best(trial=trial.name, metric=trial.metric, values=space.values(table.space, trial.pick), test=test)
    summary = replace(ended, status="finished", best=best)
    finished = FinishedSearch(table.folder.location, summary, best, table)
    best_recipe = change(replace(recipe, search=None), finished.overrides)
    table.folder.write("best.py", masked(to_source(best_recipe, summary.docstring(best))))
    summary.write(table.folder)
    return finished


def _test(run: Folder, base: Recipe, sources: dict[str, str]) -> dict[str, float]:
    """top1, top5, loss, ece and custom metrics of a run's deployed network on the test split."""
    recipe = recipe_of(run, trusted=True)
    recipe = replace(recipe, data=replace(recipe.data, validation=0.0))
    spec = ExperimentSpec.of(recipe, directory.trained_teachers(run), sources)
    (figures,) = run_tasks(base, _test_figures, [(spec, run.location)])
    return figures


def _test_figures(spec: ExperimentSpec, run: str) -> dict[str, float]:
    """`_test` where a worker would run; raises UserError if the run has no readable checkpoint."""
    from raykd.runs.checkpoints.checkpoint import newest
    from raykd.training.evaluation.evaluate import evaluate

    experiment = spec.open()
    checkpoint = newest(Folder(run), print)
    if checkpoint is None:
        raise UserError(f"{Folder(run)} has no readable checkpoint to evaluate: restore one from a copy")
    state = experiment.new_state()
    state.restore(checkpoint[0])
    distiller, batches = state.evaluated.eval(), experiment.test_data.batches()
    networks, _ = evaluate(distiller.predict, batches, experiment.autocast, {}, metrics=experiment.recipe.metrics)
    figures = next(iter(networks.values()))
    return {**figures.means, "ece": figures.ece}
