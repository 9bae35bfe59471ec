"""How much memory there is, for the choice of how to read a file."""

import os
from collections.abc import Iterator
from pathlib import Path

MINE = Path("/proc/self/cgroup")  # lines of number:controllers:path; version 2 has the one line 0::path
GROUPS = Path("/sys/fs/cgroup")


def memory_limit() -> int:
    """Bytes of memory that this process may use: of the machine, of its container, of its job (SLURM)."""
    limit = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for file in _limits():
        if file.exists() and (text := file.read_text(encoding="utf-8").strip()).isdigit():
            limit = min(limit, int(text))
    return limit


def _limits() -> Iterator[Path]:
    """Files with a limit of this process: of its control groups and of those around them."""
    for line in MINE.read_text(encoding="utf-8").splitlines() if MINE.exists() else ():
        _, controllers, path = line.split(":", 2)
        for root, name in ((GROUPS, "memory.max"), (GROUPS / "memory", "memory.limit_in_bytes")):
            if controllers == ("" if root == GROUPS else "memory"):
                group = root / path.lstrip("/")
                yield from (place / name for place in (group, *group.parents) if place.is_relative_to(root))


def fits_memory(size: int) -> bool:
    """Whether a file of this many bytes can stay in the page cache beside a training run."""
    return size < 0.6 * memory_limit()
