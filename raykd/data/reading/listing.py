"""Which files of a folder are read: pictures by their suffix, through links, none hidden; the rest is counted."""

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
    """What was not read below one folder, counted by what it is."""

    folder: Path
    counts: Counter = field(default_factory=Counter)

    def notes(self) -> tuple[str, ...]:
        """One line for the user, or none."""
        listed = ", ".join(f"{count:,} {what}" for what, count in sorted(self.counts.items()))
        return (f"left out of {self.folder}: {listed}",) if listed else ()


def is_hidden(name: str) -> bool:
    """Whether a name is no data: of a hidden entry, or of what macOS adds to its archives."""
    return name.startswith(".") or name == "__MACOSX"


def find_images(base: Path, left: Skipped) -> list[Path]:
    """Image files below a folder, however deep, sorted; raises UserError where one of its folders can't be read."""
    found = []
    for path in files(base, left):
        if path.suffix.lower() in suffixes():
            found.append(path)
        else:
            left.counts[f"no images ({path.suffix.lower() or 'without a suffix'})"] += 1
    return sorted(found)


def files(base: Path, left: Skipped) -> Iterator[Path]:
    """Regular files below a folder, through links but never back into a folder that they lie in."""
    return _below(base, (os.path.realpath(base),), left)


def _below(folder: Path, around: Sequence[str], left: Skipped) -> Iterator[Path]:
    """around: real paths of this folder and of those that were entered before it."""
    for entry in _entries(folder):
        path = folder / entry.name
        if is_hidden(entry.name):
            left.counts["hidden"] += 1
        elif not _is_there(entry):
            left.counts["broken links"] += 1
        elif entry.is_file():
            yield path
        elif not entry.is_dir():
            left.counts["no regular files"] += 1
        elif entry.is_symlink() and _leads_back(path, around):
            left.counts["links to a folder that they lie in"] += 1
        else:
            yield from _below(path, (*around, os.path.realpath(path)), left)


def subfolders(base: Path, left: Skipped) -> tuple[str, ...]:
    """Names of the folders in a folder, sorted, as they are the classes of an ImageFolder."""
    around, names = (os.path.realpath(base),), []
    for entry in _entries(base):
        if is_hidden(entry.name):
            left.counts["hidden"] += 1
        elif not _is_there(entry) or not entry.is_dir():
            what = "images outside of any class's folder" if Path(entry.name).suffix.lower() in suffixes() else "files"
            left.counts[what] += 1
        elif entry.is_symlink() and _leads_back(base / entry.name, around):
            left.counts["links to a folder that they lie in"] += 1
        else:
            names.append(entry.name)
    return tuple(names)


def _entries(folder: Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{folder} can't be read: {error.strerror}") from None


def _is_there(entry: os.DirEntry) -> bool:
    try:
        entry.stat()
    except OSError:  # a link to nothing, or to itself
        return False
    return True


def _leads_back(link: Path, around: Sequence[str]) -> bool:
    target = os.path.realpath(link)
    return any(os.path.commonpath((target, folder)) == target for folder in around)


def content_digest(places: Iterable[Path], skip: Path | None = None) -> str:
    """A digest of names, sizes and times of all files in these places; empty where one of them is not there.

    skip: a folder that is no data, wherever it lies.
    """
    digest, away = hashlib.sha256(), os.path.realpath(skip) if skip else ""
    for place in places:
        if not place.exists():
            return ""
        for path in sorted(files(place, Skipped(place))) if place.is_dir() else [place]:
            if not away or os.path.commonpath((away, os.path.realpath(path))) != away:
                about, name = path.stat(), os.fsencode(os.path.relpath(path, place))
                digest.update(b"%s\0%d\0%d\n" % (name, about.st_size, about.st_mtime_ns))
    return digest.hexdigest()
