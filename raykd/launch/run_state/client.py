"""A worker's connection to its driver."""

import os
import socket
import sys
import threading
import time
from dataclasses import replace
from typing import Any

import ray

from raykd.launch.cluster import preemption
from raykd.launch.run_state.messages import Failure, Progress, WorkerStatus

# Frames of these files are skipped when a worker's position is reported; in those of WAITING it waits for others.
# With NCCL the collective is in the device's queue, so the host waits where it reads a number from the device.
FOREIGN = ("torch", "numpy", "ray", "ffcv", "threading", "contextlib", "queue")
FETCHING = "raykd.data.device.fetch"
WAITING = ("torch.autograd.graph", "torch.distributed", "torch.nn.parallel.distributed", "torch.cuda", FETCHING)


class Client:
    """What a worker reports, and what its driver requests.

    This base class has no driver: it is the client of a trial of one worker.
    """

    def __init__(self) -> None:
        self.stop_wanted, self.save_wanted = threading.Event(), threading.Event()

    def update(self, **changes: Any) -> None:
        """Change fields of the run's `Progress`; for rank 0 only."""

    def copying(self, line: str) -> None:
        """Report what happens to the data set's files on this node; for any worker."""

    def note(self, line: str) -> None:
        """Show the user a line; for any worker."""

    def fail(self, failure: Failure) -> None:
        """Report that the run can't continue; returns only if no driver acts on it, so that the caller must raise."""

    def takes_over(self) -> bool:
        """Whether this worker replaces an earlier one, so that the run has already been able to train."""
        return False

    def close(self) -> None:
        """Send what has not been reported yet."""


class StateClient(Client):
    """Sends a worker's progress and status to its `RunState` every second; receives the driver's requests."""

    def __init__(self, state: Any, rank: int, seconds: float = 1.0):
        super().__init__()
        self._state, self._rank, self._seconds = state, rank, seconds
        self._progress: Progress | None = None
        self._saves, self._worker_thread = 0, threading.get_ident()
        self._position, self._since = ("nowhere", False), time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="state-client", daemon=True)
        self._thread.start()

    def update(self, **changes: Any) -> None:
        if self._rank == 0:
            self._progress = replace(self._progress or Progress(), **changes)

    def copying(self, line: str) -> None:
        self._state.copying.remote(socket.gethostname(), line)

    def note(self, line: str) -> None:
        self._state.note.remote(line)

    def fail(self, failure: Failure) -> None:
        if ray.get(self._state.fail.remote(failure)):
            threading.Event().wait(120)  # raising the error would make Ray start the workers again

    def takes_over(self) -> bool:
        return ray.get(self._state.takes_over.remote())

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._post(self._position)  # its last position in the training, not this one

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            self._post(position_of(self._worker_thread))
            if preemption.terminated.is_set():
                self._leave()

    def _post(self, position: tuple[str, bool]) -> None:
        if position != self._position:
            self._position, self._since = position, time.monotonic()
        status = WorkerStatus(socket.gethostname(), os.getpid(), *position, time.monotonic() - self._since)
        requests = ray.get(self._state.report.remote(self._rank, self._progress, status))
        if requests.stop:
            self.stop_wanted.set()
        if requests.saves > self._saves:
            self._saves = requests.saves
            self.save_wanted.set()

    def _leave(self, seconds: float = 25.0) -> None:
        """This process is about to be preempted: save a checkpoint, then exit. Ray restarts the workers."""
        before = self._saved()
        ray.get(self._state.announce_loss.remote(f"worker {self._rank} on {socket.gethostname()}"))
        ray.get(self._state.ask_to_save.remote())
        until = time.monotonic() + seconds
        while time.monotonic() < until and self._saved() <= before:
            time.sleep(0.1)
            self._post(position_of(self._worker_thread))
        os._exit(preemption.STATUS)

    def _saved(self) -> int:
        return ray.get(self._state.read.remote()).progress.saved


def position_of(thread: int) -> tuple[str, bool]:
    """A thread's position ("file, line n, in function"), and whether it waits for other workers there."""
    frame = sys._current_frames().get(thread)
    waits = False
    while frame is not None and _is_passed_over(frame.f_globals.get("__name__", "")):
        waits = waits or frame.f_globals["__name__"].startswith(WAITING)
        frame = frame.f_back
    if frame is None:
        return "nowhere", waits
    return f"{frame.f_code.co_filename}, line {frame.f_lineno}, in {frame.f_code.co_name}", waits


def _is_passed_over(module: str) -> bool:
    return module.split(".")[0] in FOREIGN or module == FETCHING
