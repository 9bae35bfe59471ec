"""The process of a Ray Tune trial: one run by itself, or the driver of a run with several workers."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import ray
import torch
from ray.tune.integration.ray_train import TuneReportCallback

from raykd.launch.cluster import connection
from raykd.launch.driver.torch_trainer import trainer
from raykd.launch.job_spec import JobSpec
from raykd.launch.jobs import wandb_key
from raykd.launch.run_state.client import Client
from raykd.launch.run_state.failure import cause_of
from raykd.launch.run_state.state import RunState
from raykd.launch.worker.start import work
from raykd.output import masked
from raykd.recipe import Recipe
from raykd.runs import metrics_log
from raykd.storage.atomic import temporary_folder
from raykd.storage.folder import Folder
from raykd.training.process import hide_gpus

OUTCOME = "outcome.json"  # in a run's directory: why it has no result


def train(job: JobSpec, recipe: Recipe, key: Any, report: Callable[[dict[str, Any]], None]) -> None:
    """Train a job to its end: in this process if it has one worker, else by a TorchTrainer of its own.

    The user's modules can be imported already. key: the holder of W&B's key. report: called with the metrics of every
    evaluation; only with one worker, as several workers report through Train.
    """
    if recipe.workers == 1:
        _in_this_process(replace(job, sources={}), recipe, key, report)
    else:
        _by_workers(job, recipe, key)


def _in_this_process(job: JobSpec, recipe: Recipe, key: Any, report: Callable[[dict[str, Any]], None]) -> None:
    wandb_key.take(key)
    device = torch.device("cuda", 0) if recipe.gpus_per_worker else torch.device("cpu")
    if device.type == "cpu":
        hide_gpus()
    work(job, 0, 1, device, report, Client())


def _by_workers(job: JobSpec, recipe: Recipe, key: Any) -> None:
    """The inner run has no restarts of its own: `lost` alone decides whether a failure is retried."""
    state = cast(Any, RunState).options(scheduling_strategy=connection.on_this_node()).remote()
    with temporary_folder() as folder:
        inner = trainer(job, recipe, folder, state, key, restarts=False)
        inner.run_config.callbacks.append(_all_but_last(recipe))
        inner.fit()


def _all_but_last(recipe: Recipe) -> Any:
    """Ray's callback that passes every report but the last to Tune: see `report_last`."""
    every, epochs = recipe.evaluate_every, recipe.epochs

    class AllButLast(TuneReportCallback):
        def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
            if not at_end(metrics[0], epochs):
                super().after_report(run_context, [as_reported(metrics[0], every, epochs)], checkpoint)

    return AllButLast()


def at_end(metrics: dict[str, Any], epochs: float) -> bool:
    """Whether an evaluation is a run's last one: its epoch is within one step of the recipe's."""
    return metrics["epoch"] > epochs - metrics["epoch"] / metrics["step"]


def as_reported(metrics: dict[str, Any], every: int, epochs: float) -> dict[str, Any]:
    """An evaluation as reported to Tune: its metrics, the number of evaluations so far, and its nominal epoch.

    Evaluations follow whole steps, so at epoch 2.998 or 1.002; a scheduler that waits for epoch 3 would miss the first.
    Tune itself counts the reports of a process, but a trial may be resumed in another one.
    """
    plain = {key: value for key, value in metrics.items() if isinstance(value, (int, float))}
    count = max(1, math.ceil((plain["epoch"] - plain["epoch"] / plain["step"]) / every + 1e-9))
    return plain | {"training_iteration": count, "epoch": min(float(count * every), epochs)}


def report_last(run: Folder, report: Callable[[dict[str, Any]], None]) -> None:
    """Report the last evaluation only after the run has written its result: a scheduler may end the trial at once."""
    line = metrics_log.lines(run)[-1]
    report({"epoch": line["epoch"], "step": line["step"], **next(iter(line["evaluation"].values()))})


@contextmanager
def recording_failure(run: Folder) -> Iterator[None]:
    """Context that records a failure in the run's outcome.json; a lost process or node is raised for Tune to retry."""
    try:
        yield
    except Exception as error:  # a run may fail in any way; the others continue
        if lost(error):
            raise
        run.write(OUTCOME, json.dumps({"state": "failed", "reason": masked(why(error))}))


def lost(error: BaseException) -> bool:
    """Whether a process or node was lost, so that a retry may help, rather than the run itself having failed."""
    causes = [cause_of(cause) for cause in getattr(error, "worker_failures", {}).values()]
    return any(isinstance(cause, ray.exceptions.RayError) for cause in [error, *causes])


def why(error: BaseException) -> str:
    """The innermost cause as one line."""
    for cause in getattr(error, "worker_failures", {}).values():
        return why(cause_of(cause))
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"
