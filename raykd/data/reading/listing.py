"""The files of a folder that are read: images by suffix, through links, none hidden; others are counted."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from raykd import UserError
from raykd.data.reading.pictures import suffixes


@dataclass
class Skipped:
    """Files and folders that were not read below a folder, counted by kind."""

    folder: Path
    counts: Counter = field(default_factory=Counter)

    def notes(self) -> tuple[str, ...]:
        """One line for the user, or none."""
        listed = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.counts.items()))
        return (f"left out of {self.folder}: {listed}",) if listed else ()


def is_hidden(name: str) -> bool:
    """Whether a name is a hidden entry's, or that of the folder that macOS adds to archives."""
    return name.startswith(".") or name == "__MACOSX"


def find_images(base: Path, skipped: Skipped) -> list[Path]:
    """Image files below a folder, at any depth, sorted; raises UserError if a folder can't be read."""
    images = []
    for path in files(base, skipped):
        if path.suffix.lower() in suffixes():
            images.append(path)
        else:
            skipped.counts[f"with suffix {path.suffix.lower()}" if path.suffix else "without a suffix"] += 1
    return sorted(images)


def files(base: Path, skipped: Skipped) -> Iterator[Path]:
    """Regular files below a folder; links are followed, except to a folder that contains them."""
    return _below(base, (os.path.realpath(base),), skipped)


def _below(folder: Path, ancestors: Sequence[str], skipped: Skipped) -> Iterator[Path]:
    """ancestors: real paths of this folder and of those that led to it."""
    for entry in _entries(folder):
        path = folder / entry.name
        if is_hidden(entry.name):
            skipped.counts["hidden"] += 1
        elif not _exists(entry):
            skipped.counts["broken links"] += 1
        elif entry.is_file():
            yield path
        elif not entry.is_dir():
            skipped.counts["pipes or devices"] += 1
        elif entry.is_symlink() and _leads_back(path, ancestors):
            skipped.counts["links to a folder that they lie in"] += 1
        else:
            yield from _below(path, (*ancestors, os.path.realpath(path)), skipped)


def subfolders(base: Path, skipped: Skipped) -> tuple[str, ...]:
    """Names of the folders in a folder, sorted: the classes of an ImageFolder."""
    ancestors, names = (os.path.realpath(base),), []
    for entry in _entries(base):
        if is_hidden(entry.name):
            skipped.counts["hidden"] += 1
        elif not _exists(entry) or not entry.is_dir():
            kind = "images outside the class folders" if Path(entry.name).suffix.lower() in suffixes() else "files"
            skipped.counts[kind] += 1
        elif entry.is_symlink() and _leads_back(base / entry.name, ancestors):
            skipped.counts["links to a folder that they lie in"] += 1
        else:
            names.append(entry.name)
    return tuple(names)


def _entries(folder: Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{folder} can't be read ({error.strerror}): make it readable, or remove it") from None


def _exists(entry: os.DirEntry) -> bool:
    try:
        entry.stat()
    except OSError:  # a link to nothing, or to itself
        return False
    return True


def _leads_back(link: Path, ancestors: Sequence[str]) -> bool:
    target = os.path.realpath(link)
    return any(os.path.commonpath((target, folder)) == target for folder in ancestors)


def content_digest(paths: Iterable[Path], exclude: Path | None = None) -> str:
    """A digest of names, sizes and times of all files in these paths; empty if one of them is missing.

    exclude: a folder whose files don't count.
    """
    digest, excluded = hashlib.sha256(), os.path.realpath(exclude) if exclude else ""
    for base in paths:
        if not base.exists():
            return ""
        for path in sorted(files(base, Skipped(base))) if base.is_dir() else [base]:
            if not excluded or os.path.commonpath((excluded, os.path.realpath(path))) != excluded:
                status, name = path.stat(), os.fsencode(os.path.relpath(path, base))
                digest.update(b"%s\0%d\0%d\n" % (name, status.st_size, status.st_mtime_ns))
    return digest.hexdigest()
