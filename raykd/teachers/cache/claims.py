"""Which process computes missing rows, so that parallel runs run a teacher only once for each batch.

A claim is a record lock on a file next to the rows: its bytes stand for rows, by address. The kernel releases it when
its process ends for any reason. Claims only save time: on a file system without locks, or if a claim is not released in
time, each process computes for itself.
"""

import fcntl
import functools
import os
import time
from pathlib import Path

import numpy as np

NAME = "claims"  # of the file
PATIENCE, INTERVAL = 60.0, 0.002  # seconds to wait for another process, and between two looks


class Claims:
    """The claims of this process on the rows of one cache."""

    def __init__(self, folder: Path):
        self._file = _opened(folder / NAME)

    def take(self, addresses: np.ndarray) -> bool:
        """Claim the rows at addresses [B], after waiting for a process that has them; False: compute without a claim.

        Addresses that are not consecutive are not claimed: the rows between them belong to other batches.
        """
        if (np.diff(addresses) != 1).any():
            return False
        until = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, len(addresses), int(addresses[0]))
                return True
            except (BlockingIOError, PermissionError):  # another process has them
                if time.monotonic() > until:
                    return False
                time.sleep(INTERVAL)
            except OSError:  # a file system without locks
                return False

    def give_up(self, addresses: np.ndarray) -> None:
        """The rows at addresses [B], which `take` claimed, are written, or never will be."""
        fcntl.lockf(self._file, fcntl.LOCK_UN, len(addresses), int(addresses[0]))


@functools.cache
def _opened(path: Path) -> int:
    """A descriptor of the file, one for all runs of this process: closing any would end the locks of all."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
