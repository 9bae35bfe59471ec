"""Atomic local files: written under a temporary name, then renamed; removal of what dead writers left.

A writer locks its file or folder, and the system releases the lock however the writer ends. So an unlocked temporary
file was left by a dead writer, and the next writer removes it.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raykd import UserError

TEMPORARY = ".*.tmp*"
SCRATCH, ALIVE = "raykd-", ".alive"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Context with a temporary path of the same suffix, whose file replaces `path` at the end of the block.

    If the block raises, or the disk is full, `path` stays unchanged. A link is replaced, never followed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(6)}.tmp{path.suffix}")
    lock = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        _hold(lock)
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(lock)


@contextmanager
def filling(path: Path) -> Iterator[Path]:
    """Context with a folder to fill, which becomes `path` at the end of the block, or is removed if the block raises.

    Raises UserError if `path` exists and is not an empty folder.
    """
    if path.is_symlink() or path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(f"{path} already exists: name another folder, or remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(6)}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        for file in filter(Path.is_file, temporary.rglob("*")):
            with file.open("rb") as written:
                os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def clear(folder: Path, below: str = "**") -> None:
    """Remove the temporary files of dead writers in the folders below one that match a pattern; by default in all."""
    for path in folder.glob(f"{below}/{TEMPORARY}"):
        with contextlib.suppress(OSError):
            _remove_abandoned(path, path)


def scratch() -> Path:
    """A temporary folder for the lifetime of this process; those of dead processes are removed."""
    return _scratch()[0]


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Context with a temporary folder."""
    folder, lock = _scratch()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _scratch() -> tuple[Path, int]:
    """A temporary folder, and the descriptor of its lock, which shows other processes that this one lives."""
    for alive in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*/{ALIVE}"):
        with contextlib.suppress(OSError):
            _remove_abandoned(alive, alive.parent)
    folder = Path(tempfile.mkdtemp(prefix=SCRATCH))
    lock = os.open(folder / ALIVE, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    _hold(lock)
    return folder, lock


def _hold(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # a file system without locks: then nothing is removed there either
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove_abandoned(lock: Path, what: Path) -> None:
    """Remove `what`; raises OSError if a living process holds its lock, or it belongs to another user."""
    descriptor = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        about = os.fstat(descriptor)
        if about.st_uid != os.getuid() or not os.path.isfile(lock):
            return
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(what, ignore_errors=True) if what.is_dir() else what.unlink()
    finally:
        os.close(descriptor)
