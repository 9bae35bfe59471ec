"""Tune trials side by side on a cluster's resources, so that whatever runs can go on to its end."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from raykd.launch.cluster import connection, placement_groups
from raykd.launch.cluster.autoscaler import Limits
from raykd.launch.cluster.signals import Interrupted
from raykd.launch.trials.waiting import Waits
from raykd.recipe import Recipe
from raykd.storage.folder import Folder

QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",  # for a stopped trial to leave its process to the next
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial may fail before its first figures
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # they are told in one line
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # `stopping` has its own
    "TUNE_MAX_PENDING_TRIALS_PG": "16",
    # Tune's own record of an experiment is not used: run directories tell how far trials are.
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
}


def with_fixed_workers(recipe: Recipe) -> Recipe:
    """A recipe for trials: the least number of workers, fixed, so that what is reserved is what is used."""
    return replace(recipe, workers=max(1, connection.workers_of(recipe)[0]))


def at_once(recipe: Recipe) -> int:
    """How many runs of a settled recipe the cluster, an autoscaler's growth included, has room for; 1 at least."""
    limits, alive = Limits.read(), connection.nodes()
    possible = limits.most(alive, lambda node: connection.fit(node, recipe)) if limits.known else alive
    return max(1, sum(connection.fit(node, recipe) for node in possible) // connection.workers_of(recipe)[0])


@dataclass(frozen=True, kw_only=True)
class Trials:
    """What is run, and how Tune chooses."""

    trainable: Callable[[dict[str, Any]], None]
    kinds: tuple[Recipe, ...]  # settled, one for each need of resources; of several a trial's "kind" says which
    space: dict[str, Any]
    options: dict[str, Any]  # of TuneConfig
    callback: Any
    scratch: Folder  # for Tune's own files, on storage that all nodes see


def run(trials: Trials) -> None:
    """Run trials to their end; raises Interrupted after SIGINT or SIGTERM."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from ray import tune

    logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)  # it repeats which trials failed
    trials.scratch.delete(".tune")
    tuner = tune.Tuner(
        tune.with_resources(trials.trainable, _resources(trials.kinds)),
        param_space=trials.space,
        tune_config=tune.TuneConfig(
            trial_name_creator=name_of,
            trial_dirname_creator=lambda trial: name_of(trial).replace("/", "-"),
            # The next trial in the same process saves its start. A GPU's errors and memory would go on with it, though.
            reuse_actors=all(recipe.workers == 1 and not recipe.gpus_per_worker for recipe in trials.kinds),
            **trials.options,
        ),
        run_config=tune.RunConfig(
            name=".tune",
            storage_path=trials.scratch.place,
            verbose=0,
            callbacks=[trials.callback, Waits(trials.kinds, trials.callback.console)],
            failure_config=tune.FailureConfig(max_failures=_max_failures(trials.kinds)),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=4),
        ),
    )
    with placement_groups.reaped(), stopping() as caught:
        tuner.fit()
    trials.scratch.delete(".tune")
    if caught:
        raise Interrupted(caught[0])


def name_of(trial: Any) -> str:
    """A trial's name is what its configuration says at its start; a scheduler may change the configuration later."""
    return trial.config["id"]


def _resources(kinds: tuple[Recipe, ...]) -> Any:
    """What each trial holds, or a function of its configuration where trials differ in that."""
    groups = [resources(recipe) for recipe in kinds]
    return groups[0] if len(groups) == 1 else lambda config: groups[config["kind"]]


def _max_failures(kinds: tuple[Recipe, ...]) -> int:
    """Losses after which a trial is given up: Tune has one limit for all of them; -1: never."""
    limits = [recipe.max_failures for recipe in kinds]
    return -1 if -1 in limits else max(limits)


def resources(recipe: Recipe) -> Any:
    """A trial of one worker holds that worker's resources.

    One of several holds next to nothing: its workers are a placement group of their own, and the number of trials at
    once is what keeps room for them.
    """
    from ray.tune import PlacementGroupFactory

    if connection.workers_of(recipe)[0] > 1:
        return PlacementGroupFactory([{"memory": 1}])
    labels = connection.labels_of(recipe)
    options: dict[str, Any] = {"bundle_label_selector": [labels]} if labels else {}
    return PlacementGroupFactory([connection.per_worker(recipe)], **options)


def of_task(recipe: Recipe) -> dict[str, Any]:
    """Options of a Ray task that needs what one of the recipe's workers needs."""
    needed = connection.per_worker(recipe)
    options = {"num_cpus": needed.pop("CPU"), "num_gpus": needed.pop("GPU", 0), "resources": needed}
    labels = connection.labels_of(recipe)
    return options | ({"label_selector": labels} if labels else {})


@contextmanager
def stopping() -> Iterator[list[int]]:
    """Inside, SIGINT and SIGTERM make Tune end its trials and return; the signal that came is in the list.

    A second one, or one before Tune listens, raises KeyboardInterrupt.
    """
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def stop(number: int, frame: Any) -> None:
        if caught or signal.getsignal(signal.SIGUSR1) is before[signal.SIGUSR1]:
            raise KeyboardInterrupt
        caught.append(number)
        os.kill(os.getpid(), signal.SIGUSR1)  # Tune's own signal for it

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
