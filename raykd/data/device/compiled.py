"""Kernels that numba compiles: by one process of a machine, for all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any

from filelock import FileLock


def once_per_machine(kernel: Any) -> Callable[..., None]:
    """The same kernel, compiled by the first process of a machine; the others wait, and load it from numba's cache.

    Compiling takes longer and needs more memory than loading, and workers of a run start at the same time. Where the
    cache's folder can't be locked or written to, as on a full disk, every process compiles for itself.
    """

    @wraps(kernel, updated=())
    def call(*arguments: Any) -> None:
        if kernel.signatures:
            return kernel(*arguments)
        with _lock_of(kernel):
            try:
                return kernel(*arguments)
            except OSError:
                if not kernel.signatures:
                    raise
                return kernel(*arguments)  # it is compiled, and only not saved

    return call


@contextmanager
def _lock_of(kernel: Any) -> Iterator[None]:
    lock = FileLock(Path(kernel.stats.cache_path) / f"{kernel.__name__}.lock")
    with suppress(OSError, NotImplementedError):  # the second: of file systems without locks
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
