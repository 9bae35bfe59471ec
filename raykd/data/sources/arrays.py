"""Data sets in files of arrays and records: NumPy .npz, TFRecord."""

import functools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import DecodeError

from raykd import UserError
from raykd.data.config import Source
from raykd.data.examples import Examples, Splits, from_arrays, numbered
from raykd.fields import ClassNames, Fraction, Given
from raykd.storage.damage import DAMAGE


@dataclass(frozen=True, kw_only=True)
class Npz(Source):
    """uint8 images [N, H, W, 3] (or [N, H, W], grey) and labels [N], numbers or text, in one .npz file."""

    name = "npz"
    description = "NumPy arrays of images and labels in one .npz file"
    path: Given
    """The .npz file."""
    train: tuple[str, str] = ("x_train", "y_train")
    """Names of the arrays of training images and labels."""
    test: tuple[str, str] = ("x_test", "y_test")
    """Names of the arrays of test images and labels; without them a share of the training split is held out as test
    split."""
    test_share: Fraction = 0.2
    """Share of each class held out as test split if there is none."""
    classes: ClassNames = ()
    """Names of the labels 0, 1, …; empty: the labels themselves."""

    def open(self, root: Path, download: bool) -> Splits:
        path = Path(self.path).expanduser()
        if not path.is_file():
            raise UserError(f"{path} does not exist: set data.source.path to an .npz file")
        train, test = (self._split(path, names) for names in (self.train, self.test))
        if train is None:
            raise UserError(f"{path} has no array {self.train[0]!r} or {self.train[1]!r}: set data.source.train")
        test = test if test and len(test.labels) else None
        return numbered(train, test, self.classes, self.test_share, str(path))

    def _split(self, path: Path, names: tuple[str, str]) -> Examples | None:
        """The images and labels of two arrays, or None if the file has neither."""
        try:
            with np.load(path, allow_pickle=False) as file:
                missing = [name for name in names if name not in file]
                if len(missing) == 2:
                    return None
                if missing:
                    raise UserError(f"{path} has no array {missing[0]!r}; it has {', '.join(map(repr, file))}")
                images, labels = (file[name] for name in names)
        except MemoryError:
            raise UserError(
                f"{path}: the arrays {', '.join(names)} don't fit into memory: store the images in another format"
            ) from None
        except DAMAGE as error:
            raise UserError(f"{path} can't be read as .npz with {', '.join(names)}: {error}") from None
        if images.ndim not in (3, 4) or labels.size != len(images):
            shapes = f"{list(images.shape)} and labels {list(labels.shape)}"
            raise UserError(f"{path} must contain images [N, H, W(, 3)] and one label per image, not {shapes}")
        return from_arrays(images, labels.reshape(-1).tolist(), str(path))


@dataclass(frozen=True, kw_only=True)
class TFRecord(Source):
    """TFRecord shards of examples with an encoded image and a class number; TensorFlow is not needed."""

    name = "tfrecord"
    description = "TFRecord shards of encoded images and class numbers, read without TensorFlow"
    path: Given
    """Folder of the shards."""
    train: str = "train*"
    """Pattern of the training shards."""
    test: str = "val*"
    """Pattern of the test shards; empty: a share of the training split is held out as test split."""
    test_share: Fraction = 0.2
    """Share of each class held out as test split if there is none."""
    classes: ClassNames = ()
    """Names of the classes 0, 1, …; empty: their numbers."""
    image: str = "image"
    """Name of the feature with the encoded image."""
    label: str = "class"
    """Name of the feature with the class number."""

    def open(self, root: Path, download: bool) -> Splits:
        base = Path(self.path).expanduser()
        train = self._split(self.train)
        test = self._split(self.test) if self.test else None
        return numbered(train, test, self.classes, self.test_share, str(base))

    def _split(self, pattern: str) -> Examples:
        base = Path(self.path).expanduser()
        shards = sorted(path for path in base.glob(pattern) if path.is_file())
        if not shards:
            raise UserError(f"{base} has no shards {pattern}: set data.source.path, train and test")
        locations, labels = [], []
        for shard in shards:
            for offset, length, record in records(shard):
                label = features(record, shard).get(self.label)
                if not isinstance(label, int):
                    raise UserError(f"{shard} has an example without an integer {self.label!r}: set data.source.label")
                locations.append((shard, offset, length))
                labels.append(label)
        return Examples(
            labels, lambda i: self._read(*locations[i]), lambda i: f"{locations[i][0]}, byte {locations[i][1]}"
        )

    def _read(self, shard: Path, offset: int, length: int) -> bytes:
        with shard.open("rb") as file:
            file.seek(offset)
            data = features(file.read(length), shard).get(self.image)
        if not isinstance(data, bytes):
            raise ValueError(f"it has no bytes feature {self.image!r} (data.source.image)")
        return data


def records(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Offset, length and bytes of each record of a file; raises UserError if it is truncated or damaged.

    A record is its length (u64), that number's checksum (u32), the data, and their checksum (u32).
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        while header := file.read(12):
            length = struct.unpack("<Q", header[:8])[0] if len(header) == 12 else size
            offset = file.tell()
            if offset + length + 4 > size:
                raise UserError(f"{path} is truncated, or is not a TFRecord file: restore it, or set data.source.train")
            data = file.read(length)
            if header[8:] != checksum(header[:8]) or file.read(4) != checksum(data):
                raise UserError(
                    f"{path} is damaged: the checksum of its record at byte {offset - 12} is wrong: restore the file"
                )
            yield offset, length, data


def checksum(data: bytes) -> bytes:
    """TFRecord's masked CRC-32C: rotated right by 15 bits, plus a constant; four bytes.

    Raises UserError if the package google-crc32c is missing.
    """
    try:
        import google_crc32c
    except ImportError:
        raise UserError("TFRecord shards need google-crc32c: pip install google-crc32c") from None
    value = google_crc32c.value(data)
    return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def features(record: bytes, path: Path) -> dict[str, int | bytes | None]:
    """First value of each feature of a tf.train.Example; None if it is empty or a float.

    Raises UserError, naming the file, if the record is not one.
    """
    example = _example()()
    try:
        example.ParseFromString(record)
    except DecodeError:
        raise UserError(f"{path} has a record that is not a tf.train.Example, the only kind that raykd reads") from None
    lists = {
        name: (*value.bytes_list.value, *value.int64_list.value) for name, value in example.features.feature.items()
    }
    return {name: values[0] if values else None for name, values in lists.items()}


@functools.cache
def _example() -> type[Any]:
    """tf.train.Example, as far as it is read here; see tensorflow/core/example/feature.proto."""
    file = text_format.Parse(EXAMPLE, descriptor_pb2.FileDescriptorProto())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("Example"))


EXAMPLE = """
name: "example.proto" syntax: "proto3"
message_type { name: "BytesList" field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_BYTES } }
message_type { name: "Int64List" field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_INT64 } }
message_type { name: "Feature"
  field { name: "bytes_list" number: 1 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: "BytesList" }
  field { name: "int64_list" number: 3 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: "Int64List" } }
message_type { name: "Features"
  field { name: "feature" number: 1 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: "FeatureEntry" }
  nested_type { name: "FeatureEntry" options { map_entry: true }
    field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
    field { name: "value" number: 2 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: "Feature" } } }
message_type { name: "Example"
  field { name: "features" number: 1 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: "Features" } }
"""
