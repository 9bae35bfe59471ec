"""Reading files that somebody else may have made: regular ones of bounded size, text without control characters."""

import os
import stat
from pathlib import Path
from typing import Any

from raykd import UserError
from raykd.storage.folder import Folder


def printable(text: str) -> str:
    """The text on one line, safe to print: whitespace as spaces, other characters that don't print as U+FFFD.

    Such are the control characters that a terminal obeys, and those that turn the direction of writing.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)


def all_printable(value: Any) -> Any:
    """A plain value, its texts and names printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(key): all_printable(item) for key, item in value.items()}
    return [all_printable(item) for item in value] if isinstance(value, list) else value


def read_bytes(folder: Folder, name: str, most: int) -> bytes:
    """A file of a folder; raises UserError where it has more than `most` bytes, or is local and not a regular file.

    Of a remote storage's troubles, which may pass, OSError is raised.
    """
    if folder.local is not None:
        return read_local(folder.local / name, most)
    size = folder.size(name)
    return folder.read(name) if size <= most else _too_large(f"{folder}/{name}", size, most)


def read_local(path: Path, most: int) -> bytes:
    """A file's bytes; raises UserError where it can't be read, is no regular file, or has more than `most` bytes."""
    try:
        # Without O_NONBLOCK, opening a FIFO waits for somebody to write into it.
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


def _too_large(place: str, size: int, most: int) -> bytes:
    raise UserError(f"{place} has {size:,} bytes, more than the {most:,} that such a file may have")
