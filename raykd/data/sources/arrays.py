"""Data sets in files of arrays and records: NumPy .npz, TFRecord."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from raykd import UserError
from raykd.data.config import Source
from raykd.data.sources.examples import Examples, Splits, from_arrays


@dataclass(frozen=True, kw_only=True)
class Npz(Source):
    """uint8 images [N, H, W, 3] (or [N, H, W], grey) and integer labels [N] in one .npz file."""

    name: ClassVar[str] = "npz"
    description: ClassVar[str] = "NumPy arrays of images and labels in one .npz file"
    path: str
    """The file."""
    train: tuple[str, str] = ("x_train", "y_train")
    """Its arrays of training images and labels."""
    test: tuple[str, str] = ("x_test", "y_test")
    """Its arrays of test images and labels."""

    def open(self, root: Path, download: bool) -> Splits:
        import numpy as np

        path = Path(self.path).expanduser()
        if not path.is_file():
            raise UserError(f"{path} is missing: data.source.path is a .npz file")
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in (*self.train, *self.test) if name not in file]
            if missing:
                raise UserError(f"{path} has no array {missing[0]!r}; it has {', '.join(file)}")
            parts = [self._split(file[images], file[labels], path) for images, labels in (self.train, self.test)]
        count = max(max(part.labels) for part in parts) + 1
        return Splits(tuple(str(label) for label in range(count)), *parts)

    def _split(self, images, labels, path: Path) -> Examples:
        labels = labels.reshape(-1)
        if len(images) != len(labels):
            raise UserError(f"{path} has {len(images)} images but {len(labels)} labels")
        if images.ndim == 3:
            images = images[..., None].repeat(3, axis=3)
        return from_arrays(images, labels.tolist(), str(path))


@dataclass(frozen=True, kw_only=True)
class TFRecord(Source):
    """TFRecord shards of examples with an encoded image and a class number; TensorFlow is not needed."""

    name: ClassVar[str] = "tfrecord"
    description: ClassVar[str] = "TFRecord shards of encoded images and class numbers, read without TensorFlow"
    path: str
    """The folder of the shards."""
    train: str = "train*"
    """Pattern of the training shards."""
    test: str = "val*"
    """Pattern of the test shards."""
    image: str = "image"
    """The feature of the image's bytes."""
    label: str = "class"
    """The feature of the class number."""

    def open(self, root: Path, download: bool) -> Splits:
        parts = [self._split(pattern) for pattern in (self.train, self.test)]
        count = max(max(part.labels) for part in parts) + 1
        return Splits(tuple(str(label) for label in range(count)), *parts)

    def _split(self, pattern: str) -> Examples:
        base = Path(self.path).expanduser()
        shards = sorted(path for path in base.glob(pattern) if path.is_file())
        if not shards:
            raise UserError(f"{base} has no shards {pattern}: set data.source.path, train, and test")
        places, labels = [], []
        for shard in shards:
            for offset, length, record in records(shard):
                label = features(record, shard).get(self.label)
                if not isinstance(label, int):
                    raise UserError(f"{shard} has an example without an integer feature {self.label!r}")
                places.append((shard, offset, length))
                labels.append(label)
        return Examples(labels, lambda i: self._read(*places[i]), lambda i: f"{places[i][0]}, byte {places[i][1]}")

    def _read(self, shard: Path, offset: int, length: int):
        import io

        with shard.open("rb") as file:
            file.seek(offset)
            data = features(file.read(length), shard).get(self.image)
        if not isinstance(data, bytes):
            raise UserError(f"{shard} has an example without a bytes feature {self.image!r}")
        from raykd.data.sources.files import read_rgb

        return read_rgb(io.BytesIO(data))


def records(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Offset, length, and bytes of each record: u64 length, its u32 checksum, the data, its u32 checksum."""
    size = path.stat().st_size
    with path.open("rb") as file:
        while header := file.read(12):
            length = struct.unpack("<Q", header[:8])[0] if len(header) == 12 else size
            offset = file.tell()
            if offset + length + 4 > size:
                raise UserError(f"{path} is truncated, or no TFRecord file")
            data = file.read(length)
            if header[8:] != checksum(header[:8]) or file.read(4) != checksum(data):
                raise UserError(f"{path} is damaged: the checksum of its record at byte {offset - 12} is wrong")
            yield offset, length, data


def checksum(data: bytes) -> bytes:
    """TFRecord's: the CRC-32C, turned right by 15 bits, plus a constant, in four bytes."""
    try:
        import google_crc32c
    except ImportError:
        raise UserError("TFRecord shards need google-crc32c: pip install google-crc32c") from None
    value = google_crc32c.value(data)
    return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def features(record: bytes, path: Path) -> dict[str, int | bytes | None]:
    """First value of each feature of a tf.train.Example, a map in Protocol Buffers' wire format."""
    result = {}
    try:
        for _, example in _fields(record):  # Example.features
            for _, entry in _fields(example):  # Features.feature, a map entry: key, value
                parts = dict(_fields(entry))
                result[parts[1].decode()] = _value(parts[2])
    except (IndexError, KeyError, TypeError, AttributeError, UnicodeDecodeError):
        raise UserError(f"{path} has a record that is no tf.train.Example") from None
    return result


def _value(feature: bytes) -> int | bytes | None:
    for kind, content in _fields(feature):  # bytes_list = 1, float_list = 2, int64_list = 3
        if kind == 1:
            return next(iter(_fields(content)))[1]
        if kind == 3:
            first = next(iter(_fields(content)))[1]
            return _varint(first, 0)[0] if isinstance(first, bytes) else first
    return None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and content of each field of a message: integers for varints, bytes otherwise."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == 0:
            content, at = _varint(data, at)
        else:
            length, at = _varint(data, at) if tag & 7 == 2 else ({1: 8, 5: 4}[tag & 7], at)
            content, at = data[at : at + length], at + length
        yield tag >> 3, content
