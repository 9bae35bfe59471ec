"""Writing behind the steps: neither the device nor the disk keeps training waiting, as long as they keep up with it."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from raykd.data.transfer import Fetched, to_host

DEPTH = 16  # tensors in the host's memory that are not on the disk yet


class Target(Protocol):
    def write(self, addresses: np.ndarray, rows: np.ndarray, mark: int) -> None:
        """Write rows uint8 [B, bytes]; raises OSError where there is no room."""
        ...


class WriteBehind:
    """One thread that writes in order what it is given. Whoever has it closes it, which waits for the rest."""

    def __init__(self, say: Callable[[str], None]):
        """say: told of damage, and once where the disk takes no more: nothing more is written, and training goes on."""
        self.say, self._stopped = say, False
        self._thread = ThreadPoolExecutor(1, "teacher-cache")
        self._waiting: deque[Future[Any]] = deque()

    def put(self, target: Target, addresses: np.ndarray, rows: Tensor, mark: int) -> None:
        """Have rows uint8 [B, bytes] of the device written; raises here what an earlier writing raised."""
        if not self._stopped:
            self._waiting.append(self._thread.submit(self._write, target, addresses, to_host(rows), mark))
        while self._waiting and (len(self._waiting) > DEPTH or self._waiting[0].done()):
            self._waiting.popleft().result()

    def close(self) -> None:
        """Wait until all is written; raises what a writing raised."""
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
            self.say(f"teachers.cache: {error.strerror}: no more outputs are cached; the teachers are run instead")
