"""Finds the source that reads a folder, a file, files that match a pattern, or a data set by its name."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from raykd import UserError
from raykd.data.config import Source

TRAIN = ("train", "training")
TEST = ("val", "valid", "validation", "test", "testing")


def has_files(word: str) -> bool:
    """Whether a word names a folder, a file, or files by a pattern."""
    from raykd.data.sources.tables import matching

    return Path(word).expanduser().is_dir() or any(matching(word))


def source_of(word: str) -> Source:
    """The source that a word names, with a test split next to it if there is one; raises UserError if none fits."""
    from raykd.data.sources.tables import matching

    path = Path(word).expanduser()
    if path.is_dir():
        return _in_folder(path.absolute())
    files = matching(word)
    return _in_files(word, files[0].suffix.lower()) if files else _named(word)


def _in_folder(path: Path) -> Source:
    """Shards or tables named train* and val* or test*, or images in folders."""
    from raykd.data.sources import ImageFolder, Table, TFRecord, WebDataset

    for suffix, kind in ((".tar", WebDataset), (".parquet", Table)):
        train, test = (_pattern(path, names, f"*{suffix}") for names in (TRAIN, TEST))
        if train:
            return kind(path=train, test=test)
    if _pattern(path, TRAIN, "*tfrecord*"):
        return TFRecord(path=str(path), test=Path(_pattern(path, TEST, "*tfrecord*")).name)
    folders = [entry.name for entry in sorted(path.iterdir()) if entry.is_dir()]
    train, test = (_first(folders, names) for names in (TRAIN, TEST))
    return ImageFolder(path=str(path), train=train or ImageFolder.train, test=test or ImageFolder.test)


def _pattern(path: Path, names: Sequence[str], rest: str) -> str:
    """A pattern with the first of these prefixes that files in a folder have; empty if none has."""
    return next((str(path / f"{name}{rest}") for name in names if any(path.glob(f"{name}{rest}"))), "")


def _first(folders: Sequence[str], names: Sequence[str]) -> str:
    return next((folder for name in names for folder in folders if folder.lower() == name), "")


def _in_files(word: str, suffix: str) -> Source:
    from raykd.data.sources import Npz, Table, WebDataset

    if suffix == ".beton":
        raise UserError(
            f"--data {word}: .beton files lack mean, deviation and class names, so write the recipe by "
            "hand, with Beton(train=…, test=…)"
        )
    kind = {".npz": Npz, ".tar": WebDataset}.get(suffix, Table)
    source: Source = kind(path=str(Path(word).expanduser().absolute()))
    return source


def _named(word: str) -> Source:
    from raykd.data.sources import ALL

    known: dict[str, Any] = {source.name: source for source in ALL}
    try:
        source: Source = known[word]()
        return source
    except KeyError:
        raise UserError(f"--data {word}: neither a file or folder nor a data set of `raykd list datasets`") from None
    except TypeError as error:
        missing = re.findall(r"'(\w+)'", str(error))
        raise UserError(f"--data {word}: it needs {', '.join(missing)}, so write the recipe by hand") from None
