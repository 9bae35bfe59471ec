"""How the kernels are compiled: strictly, and once per machine.

numba's cache watches the file of a function, not the files of those that it calls. So only the kernels that are called
from Python are cached, with all that they call; they close over SOURCES, as the cache's key contains what a function
closes over.
"""

from collections.abc import Callable
from functools import wraps
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock

STRICT = {"nogil": True, "error_model": "numpy"}
SOURCES = sha256(b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()
"""A hash of the files of this folder."""


def once_per_machine(kernel: Any) -> Callable[..., None]:
    """The same kernel, compiled by the first process of a machine; the others wait, and load it from numba's cache.

    Compiling takes longer and needs more memory than loading, and workers of a run start at the same time.
    """

    @wraps(kernel, updated=())
    def call(*arguments: Any) -> None:
        if kernel.signatures:
            return kernel(*arguments)
        with FileLock(Path(kernel.stats.cache_path) / f"{kernel.__name__}.lock"):
            return kernel(*arguments)

    return call
