"""WebDataset: .tar shards in which files of one name form a sample, such as 0001.jpg and 0001.cls."""

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from raykd import UserError
from raykd.data.config import Source
from raykd.data.examples import Examples, Splits, numbered
from raykd.data.reading.labels import numerals
from raykd.data.reading.listing import is_hidden
from raykd.data.reading.pictures import suffixes
from raykd.data.sources.tables import matching
from raykd.fields import ClassNames, Fraction, Given


class Member(NamedTuple):
    """A file in a shard."""

    shard: Path
    key: str
    offset: int
    size: int

    def read(self) -> bytes:
        """The file's bytes."""
        with self.shard.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


@dataclass(frozen=True, kw_only=True)
class WebDataset(Source):
    """Uncompressed .tar shards of images, each with a label in a file of the same name, or without a label."""

    name = "webdataset"
    description = "WebDataset: .tar shards of images and, beside them, .cls, .txt or .json labels"
    path: Given
    """The training shards: a file or a pattern, such as shards/train-*.tar."""
    test: str = ""
    """The test shards; empty: a share of the training images is held out."""
    label: str = "cls"
    """Suffix of the label files; in json files, the value of "label" or "cls". Empty: there are no labels."""
    classes: ClassNames = ()
    """Names of the labels 0, 1, …; empty: as the shards have them."""
    test_share: Fraction = 0.2
    """Share of each class held out as test split if there are no test shards."""

    def paths(self) -> tuple[Path, ...]:
        return tuple(matching(self.path, self.test)) or (Path(self.path).expanduser(),)

    def open(self, root: Path, download: bool) -> Splits:
        notes: list[str] = []
        train, raw = self._split(self.path, notes)
        test, test_labels = self._split(self.test, notes) if self.test else ([], [])
        labels = numerals([*raw, *test_labels], self.path)
        tested = _examples(test, labels[len(raw) :]) if self.test else None
        splits = numbered(_examples(train, labels[: len(raw)]), tested, self.classes, self.test_share, self.path)
        return splits._replace(notes=(*splits.notes, *notes))

    def _split(self, pattern: str, notes: list[str]) -> tuple[list[Member], list[str | None]]:
        """Images of the shards in order, and the text of each one's label; notes about skipped files are appended."""
        images, labels, skipped = [], [], 0
        for shard in matching(pattern):
            for parts in samples(shard):
                image = image_of(parts)
                if image is None:
                    skipped += 1
                    continue
                images.append(image)
                labels.append(self._label(parts, image))
        if not images:
            raise UserError(
                f"{pattern} matches no shard with an image ({skipped} samples have none): set data.source.path"
            )
        if skipped:
            notes.append(f"left out of {pattern}: {skipped:,} samples without an image")
        if self.label and labels.count(None) == len(labels):
            notes.append(f"{pattern}: no image has a label, i.e. a file of the same name with the suffix .{self.label}")
        return images, labels

    def _label(self, parts: dict[str, Member], image: Member) -> str | None:
        suffix = self.label.lower().removeprefix(".")
        if not suffix or suffix not in parts:
            return None
        text = parts[suffix].read().decode("utf-8", "replace").strip()
        if suffix != "json":
            return text or None
        try:
            value: Any = json.loads(text)
        except (ValueError, RecursionError):
            raise UserError(f"{image.shard}, {image.key}.json is not valid JSON") from None
        if isinstance(value, dict):
            value = value.get("label", value.get("cls"))
        if value is not None and not isinstance(value, (str, int)):
            raise UserError(f"{image.shard}, {image.key}.json has a label that is neither text nor an integer")
        return None if value is None else str(value)


def image_of(parts: dict[str, Member]) -> Member | None:
    """A sample's image: KEY.jpg before KEY.depth.png; raises UserError if several are equally likely."""
    images = [suffix for suffix in parts if f".{suffix.rpartition('.')[2]}" in suffixes()]
    plain = [suffix for suffix in images if "." not in suffix] or images
    if len(plain) > 1:
        one, other, *_ = (f"{parts[suffix].key}.{suffix}" for suffix in plain)
        raise UserError(f"{parts[plain[0]].shard} has several images in one sample: {one} and {other}; keep only one")
    return parts[plain[0]] if plain else None


def samples(shard: Path) -> Iterator[dict[str, Member]]:
    """The files of each sample of a shard by suffix, which begins after the first dot of the name."""
    key = ""
    parts: dict[str, Member] = {}
    for name, offset, size in _members(shard):
        folder, _, file = name.rpartition("/")
        stem, _, suffix = file.partition(".")
        if is_hidden(file) or not suffix:
            continue
        if f"{folder}/{stem}" != key:
            if parts:
                yield parts
            key, parts = f"{folder}/{stem}", {}
        parts[suffix.lower()] = Member(shard, f"{folder}/{stem}".lstrip("/"), offset, size)
    if parts:
        yield parts


def _members(shard: Path) -> Iterator[tuple[str, int, int]]:
    """Name, offset and size of each regular file; raises UserError if the shard is damaged or compressed."""
    try:
        with tarfile.open(shard, "r:") as archive:  # read by position later, so not compressed
            for member in archive:
                if member.isreg():
                    yield member.name, member.offset_data, member.size
    except (tarfile.TarError, OSError, ValueError) as error:
        raise UserError(f"{shard} is damaged, or is not an uncompressed .tar file: {error}") from None


def _examples(members: list[Member], labels: list[Any]) -> Examples:
    return Examples(labels, lambda i: members[i].read(), lambda i: f"{members[i].shard}, {members[i].key}")
