"""Runs Tune trials in parallel within a cluster's resources, so that every started trial can finish."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import PlacementGroupFactory
from ray.tune.search import Searcher

from raykd.launch.cluster import capacity, placement_groups
from raykd.launch.cluster.signals import Interrupted
from raykd.launch.trials.progress import LiveTable, NoOutput, WaitingMessage
from raykd.recipe import Recipe
from raykd.storage.folder import Folder

QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",  # for a stopped trial to free its process for the next one
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial may fail before its first figures
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # failures are reported as one line
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # `stopping` has its own
    "TUNE_MAX_PENDING_TRIALS_PG": "16",
    # Tune's own experiment state is not used: run directories hold the trials' progress.
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
}


class UnsavedSearcher(Searcher):
    """A searcher whose state Tune need not save: the run directories hold all that a restart needs."""

    def save(self, checkpoint_path: str) -> None:
        """Writes an empty state, which Tune requires."""
        Path(checkpoint_path).write_text("{}", encoding="utf-8")

    def restore(self, checkpoint_path: str) -> None:
        """Does nothing, see `save`."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


def run(
    trainable: Callable[[dict[str, Any]], None],
    *,
    kinds: Sequence[Recipe],
    callback: LiveTable,
    scratch: Folder,
    idle: Callable[[], bool] = lambda: False,
    space: Mapping[str, Any] = {},  # noqa: B006  never changed
    **options: Any,
) -> None:
    """Run trials to their end; raises Interrupted after SIGINT or SIGTERM.

    kinds: a recipe for each set of resources; a trial's "kind" is its index. options: of TuneConfig.
    scratch: for Tune's own files, on storage that all nodes see.
    idle: whether all trials wait for another driver's, so that Tune hears no signals.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)

    logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)  # it only repeats which trials failed
    scratch.delete(".tune")
    tuner = tune.Tuner(
        tune.with_resources(trainable, _resources(kinds)),
        param_space=dict(space),
        tune_config=tune.TuneConfig(
            trial_name_creator=name_of,
            trial_dirname_creator=lambda trial: name_of(trial).replace("/", "-"),
            # Reusing the process saves the next trial's start, but would carry over a GPU's errors and memory.
            reuse_actors=all(recipe.workers == 1 and not recipe.gpus_per_worker for recipe in kinds),
            **options,
        ),
        run_config=tune.RunConfig(
            name=".tune",
            storage_path=scratch.location,
            verbose=0,
            callbacks=[callback, WaitingMessage(kinds, callback.console), NoOutput()],
            failure_config=tune.FailureConfig(max_failures=_max_failures(kinds)),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=4),
        ),
    )
    with placement_groups.reaped(), stopping(idle) as caught:
        tuner.fit()
    scratch.delete(".tune")
    if caught:
        raise Interrupted(caught[0])


def name_of(trial: Any) -> str:
    """A trial's name, from its configuration at the start, which a scheduler may change later."""
    return trial.config["id"]


def _resources(kinds: Sequence[Recipe]) -> Any:
    """The resources of each trial, or a function of its configuration if trials differ."""
    groups = [resources(recipe) for recipe in kinds]
    return groups[0] if len(groups) == 1 else lambda config: groups[config["kind"]]


def _max_failures(kinds: Sequence[Recipe]) -> int:
    """Losses after which a trial fails; Tune has one limit for all trials; -1: unlimited."""
    limits = [recipe.max_failures for recipe in kinds]
    return -1 if -1 in limits else max(limits)


def resources(recipe: Recipe) -> Any:
    """A trial of one worker holds that worker's resources.

    A trial of several workers holds next to nothing: its workers have a placement group of their own, and the limit on
    concurrent trials ensures that they fit.
    """
    if capacity.workers_of(recipe)[0] > 1:
        return PlacementGroupFactory([{"memory": 1}])
    labels = capacity.labels_of(recipe)
    options: dict[str, Any] = {"bundle_label_selector": [labels]} if labels else {}
    return PlacementGroupFactory([capacity.per_worker(recipe)], **options)


@contextmanager
def stopping(idle: Callable[[], bool] = lambda: False) -> Iterator[list[int]]:
    """Context in which SIGINT and SIGTERM make Tune end its trials and return; the list then holds the signal.

    A second signal, or one before Tune listens, raises KeyboardInterrupt; one while Tune is idle raises Interrupted.
    """
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def stop(number: int, frame: Any) -> None:
        if caught or signal.getsignal(signal.SIGUSR1) is before[signal.SIGUSR1]:
            raise KeyboardInterrupt
        if idle():
            raise Interrupted(number)
        caught.append(number)
        os.kill(os.getpid(), signal.SIGUSR1)  # the signal that Tune itself handles

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
