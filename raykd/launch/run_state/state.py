"""The state of one run, on its driver's node: its workers write it, the driver reads it."""

import threading
import time
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.train import UserCallback

from raykd.launch.run_state.failure import Size, explain, preempted
from raykd.launch.run_state.messages import Failure, Progress, Requests, Snapshot, WorkerStatus


@dataclass
class LossPolicy:
    """Counts losses since the newest checkpoint, so a run that makes progress may lose workers any number of times."""

    announced: bool = False  # a worker announced its preemption: the loss that follows is not counted
    lost: bool = False  # workers have been lost at least once
    _losses: int = 0
    _saved: int = -1

    def reason_to_stop(self, line: str, *, excused: bool, limit: int, saved: int) -> str:
        """Count a loss of workers; returns why the run must stop, or "".

        limit: allowed losses without a new checkpoint between them; -1: any number. saved: step of the newest one.
        """
        self.lost = True
        if saved > self._saved:
            self._losses = 0
        self._losses += not (excused or self.announced)
        self._saved, self.announced = saved, False
        if limit < 0 or self._losses <= limit:
            return ""
        since = f"since the checkpoint of step {saved}" if saved >= 0 else "without a checkpoint between"
        return f"{line} (given up: {self._losses} failure(s) {since}, max_failures is {limit})"


@ray.remote(num_cpus=0)
class RunState:
    """A small actor that outlives the workers, so that their replacements have the state."""

    def __init__(self, watched: bool = False):
        """watched: a driver polls it, and ends the workers once one of them reports that it can't continue."""
        self._watched = watched
        self._snapshot, self._requests = Snapshot(), Requests()
        self._workers: dict[int, WorkerStatus] = {}
        self._policy = LossPolicy()

    def report(self, rank: int, progress: Progress | None, worker: WorkerStatus) -> Requests:
        """Store a worker's status, and rank 0's progress; returns the driver's requests."""
        if progress is not None:
            self._snapshot = replace(self._snapshot, progress=progress)
        self._workers[rank] = replace(worker, reported=time.monotonic())
        return self._requests

    def read(self) -> Snapshot:
        return self._snapshot

    def workers(self) -> dict[int, WorkerStatus]:
        """Statuses by rank."""
        return dict(sorted(self._workers.items()))

    def copying(self, host: str, line: str) -> None:
        """Store what a node does with the data set's files."""
        self._snapshot = replace(self._snapshot, staging={**self._snapshot.staging, host: line})

    def note(self, line: str) -> None:
        """Store a line to show to the user."""
        losses = (*self._snapshot.losses, f"{time.strftime('%H:%M:%S')} {line}")
        self._snapshot = replace(self._snapshot, losses=losses)

    def fail(self, failure: Failure) -> bool:
        """Store a failure that a restart would repeat; returns whether the driver will end the workers."""
        if self._snapshot.failure is None:
            self._snapshot = replace(self._snapshot, failure=failure)
        return self._watched

    def announce_loss(self, worker: str) -> None:
        """Note that a worker is about to be preempted: the loss that follows is not counted."""
        self._policy.announced = True
        self.note(f"{worker} received SIGTERM")

    def lose(self, line: str, excused: bool, limit: int) -> bool:
        """Count a loss of workers; returns whether the run must stop, which is also reported to the driver."""
        self.note(line)
        saved = self._snapshot.progress.saved
        reason = self._policy.reason_to_stop(line, excused=excused, limit=limit, saved=saved)
        return bool(reason) and self.fail(Failure("failure", reason))

    def takes_over(self) -> bool:
        """Whether earlier workers have trained this run, so that the caller replaces one of them."""
        return self._policy.lost or self._snapshot.progress.step is not None

    def ask_to_stop(self) -> None:
        self._requests = replace(self._requests, stop=True)

    def ask_to_save(self) -> None:
        self._requests = replace(self._requests, saves=self._requests.saves + 1)


class LossReporter(UserCallback):
    """Runs in Train's controller: reports to the run's state which workers were lost, before they are restarted."""

    def __init__(self, state: Any, size: Size, limit: int):
        """limit: allowed losses without a new checkpoint between them; -1: any number."""
        self.state, self.size, self.limit = state, size, limit

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        workers = ray.get(self.state.workers.remote())
        lost: dict[int, BaseException] = dict(worker_exceptions)
        line, excused = explain(lost, workers, self.size), preempted(lost)
        if ray.get(self.state.lose.remote(line, excused, self.limit)):
            threading.Event().wait(120)  # the driver ends everything now; returning would restart the workers
