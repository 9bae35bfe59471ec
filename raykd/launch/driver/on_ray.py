"""Runs the workers of one run on Ray, and monitors them."""

import time
from typing import Any, cast

import ray

from raykd.launch.cluster import connection
from raykd.launch.cluster.capacity import check_capacity, waiting
from raykd.launch.cluster.ray_internals import draining_nodes
from raykd.launch.cluster.signals import Caught, Interrupted, signals
from raykd.launch.driver.display import Display
from raykd.launch.driver.torch_trainer import TrainThread
from raykd.launch.job_spec import JobSpec
from raykd.launch.run_state.failure import RunFailed, give_up, in_short, reason
from raykd.launch.run_state.messages import Snapshot
from raykd.launch.run_state.state import RunState
from raykd.recipe import Recipe

SILENCE = 4.0  # seconds without news after which the user is told what the workers may be waiting for
FULL = (
    "the memory of this machine is full, so Ray ended the processes that manage the run: end other programs, or train "
    "with fewer workers; the same command continues from there"
)
STOP_SECONDS = 60.0  # for the last checkpoint after a signal


def train_on_ray(job: JobSpec, recipe: Recipe, display: Display) -> None:
    """Train a job to its end. Raises RunFailed, Interrupted after a signal, and UserError for a worker's bad input."""
    with connection.connected():
        recipe = check_capacity(recipe)
        state = cast(Any, RunState).options(scheduling_strategy=connection.on_this_node()).remote(watched=True)
        monitor = _Monitor(state, recipe, display)
        with signals() as caught:
            thread = TrainThread(job, recipe, state)
            try:
                while thread.runs(0.3):
                    monitor.look()
                    if caught.event.is_set():
                        monitor.stop(caught, thread)
            finally:
                thread.leave(ray_lives=not monitor.lost)
        display.show(monitor.read())
        if thread.error is not None:
            raise RunFailed(reason(thread.error, ray.get(state.workers.remote()), recipe)) from thread.error


class _Monitor:
    """Shows the state of a run, and acts on it."""

    def __init__(self, state: Any, recipe: Recipe, display: Display):
        """state: handle of the run's RunState."""
        self._state, self._display = state, display
        self._recipe = recipe
        self._last, self._since = Snapshot(), time.monotonic()
        self._draining: set[str] = set()
        self.lost = False  # whether Ray has ended

    def read(self) -> Snapshot:
        """The run's state; raises RunFailed if its actor is gone, as Ray or its node is then lost, or out of memory."""
        try:
            return ray.get(self._state.read.remote())
        except ray.exceptions.ActorDiedError as error:
            self.lost = True
            raise RunFailed(f"Ray has ended: {in_short(error)}; the same command continues from there") from None
        except ray.exceptions.OutOfMemoryError:
            raise RunFailed(FULL) from None

    def look(self) -> None:
        """Read the state once; raises RunFailed or UserError if a worker has reported that the run can't continue."""
        snapshot, now = self.read(), time.monotonic()
        self._display.show(snapshot)
        if snapshot.failure is not None:
            if snapshot.failure.kind == "failure":  # printed before Ray ends, which sometimes ends this process too
                self._display.log(f"given up: {snapshot.failure.line}")
            give_up(snapshot.failure)
        if snapshot != self._last:
            self._last, self._since = snapshot, now
        elif now - self._since > SILENCE:  # the workers may be waiting for resources
            self._display.log(waiting(self._recipe))
            self._since = now
        self._save_before_draining()

    def stop(self, caught: Caught, thread: TrainThread) -> None:
        """Request a checkpoint from rank 0, wait for it, and raise Interrupted; a second signal raises it at once."""
        first, until = caught.count, time.monotonic() + STOP_SECONDS
        self._state.ask_to_stop.remote()
        while True:
            snapshot = self.read()
            progress = snapshot.progress
            stopped = progress.stopped is not None or progress.step is None or caught.count > first
            if stopped or time.monotonic() > until or not thread.runs(0.2):
                break
        self._display.show(snapshot)
        if progress.step is None:
            self._display.note("stopped before a step was trained; the same command goes on")
        raise Interrupted(caught.number)

    def _save_before_draining(self) -> None:
        """Request a checkpoint if a node has begun draining: a spot machine's notice, an autoscaler scaling down."""
        draining = draining_nodes()
        if draining - self._draining:
            self._state.ask_to_save.remote()
        self._draining = draining
