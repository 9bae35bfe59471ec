"""Runs the workers of one run on Ray, and monitors them."""

import time
from dataclasses import dataclass, field
from typing import Any, cast

import ray

from raykd.launch.cluster import connection
from raykd.launch.cluster.failure import RunFailed, give_up, in_short, reason
from raykd.launch.cluster.preemption import Drains
from raykd.launch.cluster.signals import Caught, Interrupted, signals
from raykd.launch.driver.display import Display
from raykd.launch.driver.torch_trainer import TrainThread
from raykd.launch.job_spec import JobSpec
from raykd.launch.run_state.messages import Snapshot
from raykd.launch.run_state.state import RunState
from raykd.recipe import Recipe

SILENCE = 4.0  # seconds without news after which the user is told what the workers may be waiting for
STOP_SECONDS = 60.0  # for the last checkpoint after a signal


def train_on_ray(job: JobSpec, recipe: Recipe, display: Display) -> None:
    """Train a job to its end. Raises RunFailed, Interrupted after a signal, and UserError for a worker's bad input."""
    state = cast(Any, RunState).options(scheduling_strategy=connection.on_this_node()).remote(watched=True)
    monitor = _Monitor(state, recipe, display, Drains())
    with signals() as caught:
        thread = TrainThread(job, recipe, state)
        try:
            while thread.runs(0.3):
                monitor.look()
                if caught.event.is_set():
                    _wait_for_stop(state, caught, display, thread)
        finally:
            thread.leave()
    display.show(ray.get(state.read.remote()))
    if thread.error is not None:
        raise RunFailed(reason(thread.error, ray.get(state.workers.remote()), recipe)) from thread.error


@dataclass
class _Monitor:
    """Shows the state of a run, and acts on it."""

    state: Any  # handle of its RunState
    recipe: Recipe
    display: Display
    drains: Drains
    silence: "Silence" = field(default_factory=lambda: Silence())

    def look(self) -> None:
        """Read the state once; raises RunFailed or UserError if a worker has reported that the run can't continue."""
        snapshot = _read(self.state)
        self.display.show(snapshot)
        if snapshot.failure is not None:
            if snapshot.failure.kind == "failure":  # printed before Ray ends, which sometimes ends this process too
                self.display.log(f"given up: {snapshot.failure.line}")
            give_up(snapshot.failure)
        if self.silence.long(snapshot):
            self.display.log(connection.waiting(self.recipe))
        if self.drains.new():
            self.state.ask_to_save.remote()


class Silence:
    """Detects that the workers have reported nothing new for some seconds; they may be waiting for resources."""

    def __init__(self, seconds: float = SILENCE):
        self._seconds, self._since = seconds, time.monotonic()
        self._last: Snapshot | None = None

    def long(self, snapshot: Snapshot) -> bool:
        """True once for every period of silence."""
        now = time.monotonic()
        if snapshot != self._last:
            self._last, self._since = snapshot, now
        elif now - self._since > self._seconds:
            self._since = now
            return True
        return False


def _read(state: Any) -> Snapshot:
    """The run's state; raises RunFailed if its actor is gone, as Ray or its node is then lost."""
    try:
        return ray.get(state.read.remote())
    except ray.exceptions.ActorDiedError as error:
        raise RunFailed(f"Ray has ended: {in_short(error)}; the same command continues from there") from None


def _wait_for_stop(state: Any, caught: Caught, display: Display, thread: TrainThread) -> None:
    """Request a checkpoint from rank 0, wait for it, and raise Interrupted; a second signal raises it at once."""
    first, until = caught.count, time.monotonic() + STOP_SECONDS
    state.ask_to_stop.remote()
    while True:
        snapshot = _read(state)
        progress = snapshot.progress
        stopped = progress.stopped is not None or progress.step is None or caught.count > first
        if stopped or time.monotonic() > until or not thread.runs(0.2):
            break
    display.show(snapshot)
    raise Interrupted(caught.number)
