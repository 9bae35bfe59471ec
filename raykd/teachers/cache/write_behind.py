"""Writes cache rows in the background, so that training waits for neither the device nor the disk if they keep up."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from raykd.data.device.transfer import Fetched, to_host

DEPTH = 16  # maximum length of the queue, and so of unwritten tensors in host memory


class Target(Protocol):
    """Interface of the files that rows are written to."""

    def write(self, addresses: np.ndarray, rows: np.ndarray, mark: int) -> None:
        """Write rows uint8 [B, bytes]; raises OSError if the disk is full."""
        ...


class WriteBehind:
    """A thread that writes queued rows in order. Its owner must close it, which waits for the rest."""

    def __init__(self, notify: Callable[[str], None]):
        """notify: called for damage, and once when the disk is full: then writing ends, and training continues."""
        self.notify, self._stopped = notify, False
        self._thread = ThreadPoolExecutor(1, "teacher-cache")
        self._waiting: deque[Future[Any]] = deque()

    def put(self, target: Target, addresses: np.ndarray, rows: Tensor, mark: int) -> None:
        """Queue rows uint8 [B, bytes] of the device; raises the error of an earlier write."""
        if not self._stopped:
            self._waiting.append(self._thread.submit(self._write, target, addresses, to_host(rows), mark))
        while self._waiting and (len(self._waiting) > DEPTH or self._waiting[0].done()):
            self._waiting.popleft().result()

    def after(self, call: Callable[[], None]) -> None:
        """Have `call` called when all rows that are queued now are written, or have been dropped."""
        self._waiting.append(self._thread.submit(call))

    def close(self) -> None:
        """Wait until everything is written; raises the error of a write."""
        try:
            while self._waiting:
                self._waiting.popleft().result()
        finally:
            self._thread.shutdown()

    def _write(self, target: Target, addresses: np.ndarray, rows: Fetched, mark: int) -> None:
        if self._stopped:
            return
        try:
            target.write(addresses, rows.wait().numpy(), mark)
        except OSError as error:
            self._stopped = True
            self.notify(f"teachers.cache: {error.strerror}; no more outputs are cached, and the teachers run instead")
