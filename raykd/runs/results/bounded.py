"""Reads untrusted files: only regular ones, of bounded size."""

import os
import stat
from pathlib import Path

from raykd import UserError
from raykd.storage.folder import Folder


def read_bytes(folder: Folder, name: str, most: int) -> bytes:
    """A file of a folder; raises UserError if it has more than `most` bytes, or is local and not a regular file.

    Failures of remote storage, which may be temporary, raise OSError.
    """
    if folder.local is not None:
        return read_local(folder.local / name, most)
    size = folder.size(name)
    return folder.read(name) if size <= most else _too_large(f"{folder}/{name}", size, most)


def read_local(path: Path, most: int) -> bytes:
    """A file's bytes; raises UserError if it can't be read, is not a regular file, or has more than `most` bytes."""
    try:
        # Without O_NONBLOCK, opening a FIFO waits for a writer.
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            about = os.fstat(number)
            if not stat.S_ISREG(about.st_mode):
                raise UserError(f"{path} is not a regular file")
            if about.st_size > most:
                _too_large(str(path), about.st_size, most)
            with open(number, "rb", closefd=False) as file:
                return file.read()
        finally:
            os.close(number)
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror or error}") from None


def _too_large(location: str, size: int, most: int) -> bytes:
    raise UserError(f"{location} has {size:,} bytes, more than the {most:,} allowed for such a file")
