"""The state of one run on its driver's node: its workers write it, the driver reads it."""

import threading
import time
from dataclasses import replace
from typing import Any

import ray
from ray.train import UserCallback

from raykd.launch.cluster.failure import Size, explain, preempted
from raykd.launch.run_state.loss_policy import LossPolicy
from raykd.launch.run_state.messages import Failure, Progress, Requests, Snapshot, WorkerStatus


@ray.remote(num_cpus=0)
class RunState:
    """A small actor that outlives the workers, so that those who take over find what was there."""

    def __init__(self, watched: bool = False):
        """watched: a driver looks at it all the time and ends the workers where one says that it can't go on."""
        self._watched = watched
        self._snapshot, self._requests = Snapshot(), Requests()
        self._workers: dict[int, WorkerStatus] = {}
        self._policy = LossPolicy()

    def report(self, rank: int, progress: Progress | None, worker: WorkerStatus) -> Requests:
        """Take a worker's status, and the first one's progress; answers what is wanted of it."""
        if progress is not None:
            self._snapshot = replace(self._snapshot, progress=progress)
        self._workers[rank] = replace(worker, heard=time.monotonic())
        return self._requests

    def read(self) -> Snapshot:
        return self._snapshot

    def workers(self) -> dict[int, WorkerStatus]:
        """By rank."""
        return dict(sorted(self._workers.items()))

    def copying(self, host: str, line: str) -> None:
        """Note what a node does with the data set's files."""
        self._snapshot = replace(self._snapshot, staging={**self._snapshot.staging, host: line})

    def note(self, line: str) -> None:
        """Tell the user a line."""
        losses = (*self._snapshot.losses, f"{time.strftime('%H:%M:%S')} {line}")
        self._snapshot = replace(self._snapshot, losses=losses)

    def fail(self, failure: Failure) -> bool:
        """Note that trying again is of no use; answers whether the driver will end the workers."""
        if self._snapshot.failure is None:
            self._snapshot = replace(self._snapshot, failure=failure)
        return self._watched

    def announce_loss(self, worker: str) -> None:
        """Note that a worker is about to be taken away: the loss that follows counts for nothing."""
        self._policy.announced = True
        self.note(f"{worker} received SIGTERM")

    def lose(self, line: str, excused: bool, limit: int) -> bool:
        """Note a loss of workers; answers whether the run is given up, as the driver is told."""
        self.note(line)
        saved = self._snapshot.progress.saved
        reason = self._policy.reason_to_stop(line, excused=excused, limit=limit, saved=saved)
        return bool(reason) and self.fail(Failure("failure", reason))

    def takes_over(self) -> bool:
        """Whether workers have trained before, so that those that ask now take over from them."""
        return self._policy.lost or self._snapshot.progress.step is not None

    def ask_to_stop(self) -> None:
        self._requests = replace(self._requests, stop=True)

    def ask_to_save(self) -> None:
        self._requests = replace(self._requests, saves=self._requests.saves + 1)


class LossReporter(UserCallback):
    """Runs in Train's controller: tells the run's state which workers were lost, before they are started again."""

    def __init__(self, state: Any, size: Size, limit: int):
        """limit: of losses without a newer checkpoint between them; -1: none."""
        self.state, self.size, self.limit = state, size, limit

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        workers = ray.get(self.state.workers.remote())
        lost: dict[int, BaseException] = dict(worker_exceptions)
        line, excused = explain(lost, workers, self.size), preempted(lost)
        if ray.get(self.state.lose.remote(line, excused, self.limit)):
            threading.Event().wait(120)  # the driver ends everything now; going on would start the workers again
