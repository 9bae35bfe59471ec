"""A folder on any file system that pyarrow or fsspec supports: local paths and s3://, gs://, … URIs."""

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.fs as pafs

from raykd import UserError
from raykd.output import masked, message_of
from raykd.storage import atomic

# Misspelled URIs, which would otherwise name local folders, such as s3:/bucket or file://runs.
ALMOST = re.compile(
    r"(s3|gs|gcs|az|abfss?|adl|hdfs|viewfs|https?|s?ftp|memory|file):(?!//)|file://(?!/)", re.IGNORECASE
)
# What file systems of other packages raise at addresses that they can't use.
FAILURES = (OSError, ValueError, ImportError, TypeError, AttributeError, LookupError, NotImplementedError)


def absolute(location: str | Path) -> str:
    """A URI unchanged; a local path made absolute, with ~ expanded. Raises UserError for a misspelt URI."""
    location = str(location)
    if ALMOST.match(location):
        raise UserError(f"{masked(location)} is not a URI: write s3://BUCKET/FOLDER or file:///FOLDER")
    if "\0" in location:
        raise UserError(f"{location!r} is not a path: it contains a NUL character")
    location = location.removeprefix("file://")
    return location if "://" in location else str(Path(location).expanduser().absolute())


class Folder:
    """Files below one location; a write replaces a file atomically."""

    def __init__(self, location: str | Path):
        self.location = absolute(location)
        self.local = Path(self.location) if "://" not in self.location else None
        self._fs, self._root = _file_system(self.location)

    def __truediv__(self, name: str) -> "Folder":
        location, mark, query = self.location.partition("?") if self.local is None else (self.location, "", "")
        return Folder(f"{location.rstrip('/')}/{name}{mark}{query}")

    def __str__(self) -> str:
        """The location without credentials, as it may be shown and stored."""
        return masked(self.location)

    def exists(self, name: str = "") -> bool:
        """Whether there is a file or folder of that name; without a name, whether this folder exists."""
        return bool(self._fs.get_file_info(self._at(name)).type != pafs.FileType.NotFound)

    def read(self, name: str) -> bytes:
        """A file's bytes; raises FileNotFoundError, and UserError if it is not a regular file (a pipe has no end)."""
        self._expect_file(name)
        with self._fs.open_input_stream(self._at(name), compression=None) as stream:
            content: bytes = stream.read()
        return content

    def _expect_file(self, name: str) -> None:
        if self.local is not None and not stat.S_ISREG((self.local / name).stat().st_mode):
            raise UserError(f"{self}/{name} is not a regular file: remove it, or restore it from a copy")

    def write(self, name: str, content: bytes | str) -> None:
        """Write a file atomically, with the folders above it."""
        content = content.encode() if isinstance(content, str) else content
        if self.local is not None:
            atomic.write(_own(self.local, name), content)
            return
        try:
            self._put(name, content)
        except FileNotFoundError:  # a file system with real folders; object stores have none
            self._fs.create_dir(self._at(name).rpartition("/")[0], recursive=True)
            self._put(name, content)

    def _put(self, name: str, content: bytes) -> None:
        with self._fs.open_output_stream(self._at(name), compression=None) as stream:
            stream.write(content)

    def open_read(self, name: str) -> Any:
        """A binary stream of a file that is too large for memory; raises as `read` does."""
        self._expect_file(name)
        return self._fs.open_input_stream(self._at(name), compression=None)

    def open_write(self, name: str) -> Any:
        """A binary stream to a file. Unlike with `write`, readers may see a partial file."""
        return self._fs.open_output_stream(self._at(name), compression=None)

    def size(self, name: str) -> int:
        """A file's size in bytes; raises FileNotFoundError."""
        info = self._fs.get_file_info(self._at(name))
        if info.type != pafs.FileType.File:
            raise FileNotFoundError(f"{self}/{name}")
        return int(info.size)

    def append(self, name: str, line: str) -> None:
        """Append a line; on object stores, which have no append, the file is rewritten."""
        if self.local is not None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(_own(self.local, name), flags, 0o666), "a", encoding="utf-8") as file:
                file.write(line + "\n")
            return
        before = self.read(name) if self.exists(name) else b""
        self.write(name, before + line.encode() + b"\n")

    def read_json(self, name: str) -> Any:
        """A JSON file's content; raises FileNotFoundError, and UserError naming a file that is not JSON."""
        try:
            return json.loads(self.read(name))
        except (ValueError, RecursionError):
            raise UserError(f"{self}/{name} is not valid JSON: remove it or restore it from a copy") from None

    def names(self, below: str = "") -> list[str]:
        """Names of the files and folders directly below, sorted; empty if there is no such folder."""
        selector = pafs.FileSelector(self._at(below), allow_not_found=True)
        return sorted(info.base_name for info in self._fs.get_file_info(selector))

    def files(self) -> list[str]:
        """Paths of all files below, recursively, sorted."""
        selector = pafs.FileSelector(self._root, recursive=True, allow_not_found=True)
        paths = (info.path for info in self._fs.get_file_info(selector) if info.type == pafs.FileType.File)
        return sorted(path[path.index(self._root) + len(self._root) :].lstrip("/") for path in paths)

    def delete(self, name: str) -> None:
        """Remove a file, or a folder with its content, if it exists."""
        if self.local is not None and _own(self.local, name).is_symlink():
            (self.local / name).unlink()
            return
        info = self._fs.get_file_info(self._at(name))
        if info.type == pafs.FileType.Directory:
            self._fs.delete_dir(info.path)
        elif info.type == pafs.FileType.File:
            self._fs.delete_file(info.path)

    def create(self) -> None:
        """Create the folder; raises UserError if it can't be written to."""
        try:
            self._fs.create_dir(self._root, recursive=True)
            self.write(".writable", bytes(4096))  # a full disk still accepts empty files
            self.delete(".writable")
        except (OSError, NotImplementedError) as error:  # the second: of file systems that can only be read
            raise UserError(f"can't write to {self}: {message_of(error)}; choose another --storage") from None

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root


def _own(folder: Path, name: str) -> Path:
    """A path below a local folder; raises UserError if it contains a link, which may lead to other files."""
    path = folder / name
    for part in path.relative_to(folder).parents:
        if (folder / part).is_symlink() and part.parts:
            raise UserError(f"{folder / part} is a link, but raykd writes only into a run's own folders: remove it")
    return path


def _file_system(location: str) -> tuple[pafs.FileSystem, str]:
    if "://" not in location:
        return pafs.LocalFileSystem(), location
    try:
        file_system, path = pafs.FileSystem.from_uri(location)
        return file_system, path
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
        return _fsspec(location)
    except OSError as error:  # of a file system whose own libraries are missing
        raise _unusable(location, error) from None


def _fsspec(location: str) -> tuple[pafs.FileSystem, str]:
    import fsspec

    try:
        file_system, path = fsspec.core.url_to_fs(location)
    except FAILURES as error:
        raise _unusable(location, error) from None
    return pafs.PyFileSystem(pafs.FSSpecHandler(file_system)), path


def _unusable(location: str, error: Exception) -> UserError:
    return UserError(f"can't use {masked(location)} as storage: {message_of(error)}")
