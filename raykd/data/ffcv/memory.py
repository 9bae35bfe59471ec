"""The memory limit of this process, which determines how a file is read."""

import os
from collections.abc import Iterator
from pathlib import Path

CGROUP_FILE = Path("/proc/self/cgroup")  # lines of number:controllers:path; version 2 has the one line 0::path
CGROUP_ROOT = Path("/sys/fs/cgroup")


def memory_limit() -> int:
    """Bytes of memory that this process may use: the least limit of the machine, the container and the job (SLURM)."""
    limit = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for file in _limits():
        if file.exists() and (text := file.read_text(encoding="utf-8").strip()).isdigit():
            limit = min(limit, int(text))
    return limit


def _limits() -> Iterator[Path]:
    """Files with limits of this process: of its control groups and of their parents."""
    for line in CGROUP_FILE.read_text(encoding="utf-8").splitlines() if CGROUP_FILE.exists() else ():
        _, controllers, path = line.split(":", 2)
        for root, name in ((CGROUP_ROOT, "memory.max"), (CGROUP_ROOT / "memory", "memory.limit_in_bytes")):
            if controllers == ("" if root == CGROUP_ROOT else "memory"):
                group = root / path.lstrip("/")
                yield from (folder / name for folder in (group, *group.parents) if folder.is_relative_to(root))


def fits_memory(size: int) -> bool:
    """Whether a file of this many bytes can stay in the page cache beside a training run."""
    return size < 0.6 * memory_limit()
