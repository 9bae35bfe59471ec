"""Writes checkpoints in the background, and again while the storage fails."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from raykd.runs.checkpoints.checkpoint import prune, write
from raykd.storage.folder import Folder
from raykd.storage.retry import LONGEST_PAUSE, PATIENCE, reason


@dataclass(frozen=True)
class _Task:
    state: dict[str, Any]
    step: int
    epoch: float
    top1: float | None


class Writer:
    """Writes checkpoints in a background thread; a training step waits only for the copy of the state in memory.

    One state at most waits to be written: a newer one takes its place. Where the storage fails, the newest is tried
    again for as long as the training goes on.
    """

    def __init__(
        self,
        run: Folder,
        keep: int,
        fingerprint: str,
        notify: Callable[[str], None],
        first: Callable[[], None] = lambda: None,
        wrote: Callable[[int], None] = lambda step: None,
    ):
        """notify: called when writing fails or works again. first, wrote: called in the thread before, after each."""
        self._run, self._keep, self._fingerprint, self._notify = run, keep, fingerprint, notify
        self._first, self._done = first, wrote
        self._lock, self._given_up = threading.Lock(), threading.Event()
        self._waiting: _Task | None = None
        self._thread: threading.Thread | None = None
        self._failure: OSError | None = None  # of the last attempt; the next one may succeed
        self._error: Exception | None = None  # that ends the writing

    def save(self, state: dict[str, Any], step: int, epoch: float, top1: float | None) -> None:
        """Queue a state, which must not change any more; raises the error that ended the writing thread."""
        self._complain()
        with self._lock:
            self._waiting = _Task(state, step, epoch, top1)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="checkpoint-writer", daemon=True)
                self._thread.start()

    def wait(self, seconds: float = PATIENCE) -> None:
        """Wait until everything is written; raises OSError if the storage still fails after that many seconds."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)
            if thread.is_alive() and self._failure is not None:
                self._given_up.set()
                raise self._failure
            thread.join()
        self._complain()

    def _complain(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        """Write queued states until there are none."""
        pause = 0.5
        while not self._given_up.is_set():
            with self._lock:
                task, self._waiting = self._waiting, None
                if task is None:
                    self._thread = None
                    return
            if self._wrote(task):
                pause = 0.5
                continue
            with self._lock:
                self._waiting = self._waiting or task
            self._given_up.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _wrote(self, task: _Task) -> bool:
        try:
            self._first()
            write(
                self._run, task.state, step=task.step, epoch=task.epoch, top1=task.top1, fingerprint=self._fingerprint
            )
            prune(self._run, self._keep)
        except OSError as error:
            if self._failure is None:
                why = f"the checkpoint of step {task.step} can't be written ({reason(error)})"
                self._notify(f"{why}; training continues, and writing is retried")
            self._failure = error
            return False
        except Exception as error:  # noqa: BLE001  raised in the training thread
            self._error = error
            self._given_up.set()
            return False
        if self._failure is not None:
            self._notify(f"checkpoints are written again, at step {task.step}")
        self._failure = None
        self._done(task.step)
        return True
