"""The folders of all caches below a data root: their content, last use, and removal."""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raykd import UserError
from raykd.runs.results.bounded import read_local
from raykd.storage import atomic
from raykd.teachers.cache.claims import NAME as CLAIMS

ABOUT, IN_USE = "about.json", "in-use"  # the second is locked by readers and writers
ROWS = (".rows", ".logits")  # the second: of version 0.1.0
LARGEST = 2**20  # bytes of about.json


@dataclass(frozen=True)
class CacheFolder:
    """One cache on disk."""

    path: Path
    about: dict[str, Any]  # empty: damaged, or of an earlier version
    bytes: int  # on disk
    used: float  # when a run last opened it, in seconds since the epoch


def root_of(data_root: str) -> Path:
    return Path(data_root).expanduser() / "teachers"


def all_in(root: Path) -> list[Path]:
    """The folders of caches, without others that may be there, such as runs of trained teachers."""
    return [path for path in root.iterdir() if _is_cache(path)] if root.is_dir() else []


def _is_cache(path: Path) -> bool:
    """Whether a folder holds a cache's files and nothing else."""
    if path.is_symlink() or not path.is_dir():
        return False
    names = [file.name for file in path.iterdir()]
    own = [name for name in names if name in (ABOUT, IN_USE, CLAIMS) or name.endswith(ROWS)]
    return bool(own) and all(name in own or name.startswith(".") for name in names)


def allocated(folder: Path) -> int:
    """Bytes that a folder's files take on disk: unwritten rows of sparse files take none."""
    return sum(path.stat().st_blocks * 512 for path in folder.glob("*") if path.is_file())


def use(folder: Path, about: dict[str, Any]) -> None:
    """Create a cache's folder if it is missing, record its use, and lock it until this process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    if not _read(folder):
        atomic.write(folder / ABOUT, json.dumps(about, indent=1).encode())
    os.utime(folder / ABOUT)
    if folder not in _held:
        _held[folder] = os.open(folder / IN_USE, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(_held[folder], fcntl.LOCK_SH)


_held: dict[Path, int] = {}


def oldest_first(root: Path) -> list[CacheFolder]:
    """All caches, the least recently used first."""
    caches = []
    for path in all_in(root):
        about = path / ABOUT
        used = (about if about.exists() else path).stat().st_mtime
        caches.append(CacheFolder(path, _read(path), allocated(path), used))
    return sorted(caches, key=lambda folder: folder.used)


def remove(folder: Path) -> bool:
    """Remove a cache; False if a living process of this machine uses it."""
    with _unused(folder) as unused:
        if unused:
            shutil.rmtree(folder)
    return unused


@contextlib.contextmanager
def _unused(folder: Path) -> Iterator[bool]:
    descriptor = os.open(folder / IN_USE, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)


def _read(folder: Path) -> dict[str, Any]:
    try:
        about = json.loads(read_local(folder / ABOUT, LARGEST))
    except (UserError, ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}
