"""How much memory there is, for the choice of how to read a file."""

import os
from pathlib import Path

LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_limit() -> int:
    """Bytes of memory that this machine or container has."""
    limit = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in map(Path, LIMITS):
        if path.exists() and (text := path.read_text().strip()).isdigit():
            limit = min(limit, int(text))
    return limit


def fits_memory(size: int) -> bool:
    """Whether a file of this many bytes can stay in the page cache beside a training run."""
    return size < 0.6 * memory_limit()
