"""FFCV's file format 2: the tables of a file, read and checked before any image is decoded.

A file has a header, a description of each field, a row of metadata for each sample, pages of data, and a table of
allocations in them. raykd writes the fields "image" and "label"; other files may have more, in any order.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from raykd import UserError
from raykd.data.config import PREPARE_AGAIN, Prepared
from raykd.data.order import INDEX_MASK

VERSION = 2
JPEG, RAW = 0, 1
FLOAT_FIELD, INT_FIELD, IMAGE_FIELD, BYTES_FIELD, ARRAY_FIELD, JSON_FIELD, TENSOR_FIELD = range(7)
MAX_PIXELS = 178_956_970
"""JPEGs of more are refused, as a few hundred bytes can claim 4 billion; PIL has the same limit."""

HEADER = np.dtype(
    [
        ("version", "<u2"),
        ("num_fields", "<u2"),
        ("page_size", "<u4"),
        ("num_samples", "<u8"),
        ("alloc_table_ptr", "<u8"),
    ],
    align=True,
)
FIELD = np.dtype([("type_id", "<u1"), ("name", ("<u1", 16)), ("arguments", ("<u1", (1024,)))], align=True)
IMAGE = np.dtype([("mode", "<u1"), ("width", "<u2"), ("height", "<u2"), ("data_ptr", "<u8")])
SAMPLE = np.dtype([("f0", IMAGE), ("f1", "<i8")], align=True)
ALLOCATION = np.dtype([("sample_id", "<u8"), ("ptr", "<u8"), ("size", "<u8")])
_BYTES = np.dtype([("ptr", "<u8"), ("size", "<u8")])
METADATA = {
    FLOAT_FIELD: np.dtype("<f8"),
    INT_FIELD: np.dtype("<i8"),
    IMAGE_FIELD: IMAGE,
    BYTES_FIELD: _BYTES,
    ARRAY_FIELD: np.dtype("<u8"),
    JSON_FIELD: _BYTES,
    TENSOR_FIELD: np.dtype("<u8"),
}
# Messages by the status of an image, which the kernels and the torch engine return.
PROBLEMS = (
    "",
    "is corrupt",
    "is a JPEG whose size differs from the file's table",
    "is gone: the file was truncated while it was read",
    "needs more memory than is available",
)


class Header:
    """The tables of a .beton file; raises UserError, naming the file, if it is damaged.

    image, label: names of the fields; empty: the only image field, and the integer field "label" or else the only one.
    repair: the advice in messages for damaged files.
    """

    def __init__(self, path: Path, *, image: str = "", label: str = "", repair: str = PREPARE_AGAIN):
        self.path, self.repair = path, repair
        try:
            self.bytes = path.stat().st_size
            header = np.fromfile(path, HEADER, 1)
        except OSError as error:
            raise UserError(f"{path} can't be read: {error.strerror}; run raykd data prepare") from None
        if len(header) == 0 or header[0]["version"] != VERSION or header[0]["num_fields"] == 0:
            raise UserError(f"{path} is not a .beton file of version {VERSION}: {repair}")
        self.page_size = int(header[0]["page_size"])
        kinds, names = self._fields(int(header[0]["num_fields"]))
        row = np.dtype([("", METADATA[kind]) for kind in kinds], align=True)
        start, count = HEADER.itemsize + len(kinds) * FIELD.itemsize, int(header[0]["num_samples"])
        table = int(header[0]["alloc_table_ptr"])
        if count == 0:
            raise self._damaged("contains no images")
        if self.page_size == 0 or table < start + count * row.itemsize or table + ALLOCATION.itemsize > self.bytes:
            raise self._damaged("is truncated")
        images, integers = ([n for n, k in zip(names, kinds) if k == kind] for kind in (IMAGE_FIELD, INT_FIELD))
        self.image = self._choose("image", "image", images, image)
        self.label = self._choose("label", "integer", integers, label or ("label" if "label" in integers else ""))
        samples = np.fromfile(path, row, count, offset=start)
        allocations = np.fromfile(path, ALLOCATION, (self.bytes - table) // ALLOCATION.itemsize, offset=table)
        if len(samples) < count or len(allocations) < count:
            raise self._damaged("is truncated")
        self.labels: np.ndarray = samples[f"f{names.index(self.label)}"].copy()
        self._read_images(samples[f"f{names.index(self.image)}"], allocations)

    def _fields(self, count: int) -> tuple[list[int], list[str]]:
        """Types and names of the fields."""
        fields = np.fromfile(self.path, FIELD, count, offset=HEADER.itemsize)
        kinds = fields["type_id"].tolist()
        names = [field["name"].tobytes().rstrip(b"\0").decode("utf-8", "replace") for field in fields]
        if len(fields) < count:
            raise self._damaged("is truncated")
        unknown = [name for name, kind in zip(names, kinds, strict=True) if kind not in METADATA]
        if unknown or len(set(names)) < count:
            raise UserError(
                f"{self.path} has fields of unknown types or equal names ({', '.join(unknown or names)}): {self.repair}"
            )
        return kinds, names

    def _choose(self, field: str, kind: str, names: Sequence[str], name: str) -> str:
        """The field of that name, or without a name the only one."""
        if name in names or (len(names) == 1 and not name):
            return name or names[0]
        problem = f"no {kind} field {name!r}" if name else f"{len(names) or 'no'} {kind} fields"
        listed = f": it has {', '.join(names)}; choose one with data.source.{field}" if names else ""
        raise UserError(f"{self.path} has {problem}{listed}")

    def _read_images(self, images: np.ndarray, allocations: np.ndarray) -> None:
        order = np.argsort(allocations["ptr"], kind="stable")
        starts = allocations["ptr"][order]
        rows = order[np.minimum(np.searchsorted(starts, images["data_ptr"]), len(order) - 1)]
        if (allocations["ptr"][rows] != images["data_ptr"]).any():
            raise self._damaged("is damaged: its table lacks some images")
        sizes = allocations["size"][rows]
        if not _inside(images, sizes, self.bytes, self.page_size):
            raise self._damaged("is damaged: it lists samples outside the file")
        self.sizes: np.ndarray = sizes.astype(np.int64)
        self.offsets: np.ndarray = images["data_ptr"].astype(np.int64)
        self.pages: np.ndarray = self.offsets // self.page_size
        self.jpeg: np.ndarray = images["mode"] == JPEG
        self.shapes: np.ndarray = np.stack([images["height"], images["width"]], 1).astype(np.int64)
        for index in np.flatnonzero(self.jpeg & (self.shapes.prod(1) > MAX_PIXELS))[:1]:
            height, width = self.shapes[index]
            raise UserError(
                f"{self.path}: image {index} (byte {self.offsets[index]}) is a JPEG of {width}×{height} in "
                f"{self.sizes[index]:,} bytes, more pixels than so few bytes can encode: {self.repair}"
            )

    def _damaged(self, problem: str) -> UserError:
        return UserError(f"{self.path} {problem}; {self.repair}")

    def check_status(self, tags: np.ndarray, status: np.ndarray) -> None:
        """Raise UserError if any of these samples could not be decoded."""
        for position in np.flatnonzero(status)[:1]:
            index = tags[position] & INDEX_MASK
            problem = PROBLEMS[status[position]]
            raise UserError(f"{self.path}: image {index} {problem} (byte {self.offsets[index]}): {self.repair}")


def open_header(path: Path, prepared: Prepared) -> Header:
    """The header of one of a data set's files; raises UserError for labels outside the classes, except −1 (missing)."""
    header = Header(path, image=prepared.image, label=prepared.label, repair=prepared.repair)
    if not -1 <= header.labels.min() <= header.labels.max() < len(prepared.classes):
        raise UserError(f"{path} has labels outside 0 to {len(prepared.classes) - 1}: {header.repair}")
    return header


def _inside(images: np.ndarray, sizes: np.ndarray, size: int, page: int) -> bool:
    """Whether every image lies in one page of the file and raw ones are as large as they say; decoders trust this."""
    starts, end = images["data_ptr"], np.uint64(size)
    if (sizes == 0).any() or (starts >= end).any() or (sizes > end - starts).any():
        return False
    if (starts // page != (starts + sizes - np.uint64(1)) // page).any():
        return False
    pixels = images["height"].astype(np.uint64) * images["width"].astype(np.uint64)
    raw = images["mode"] == RAW
    return bool((pixels > 0).all() and (pixels * 3 == sizes)[raw].all() and np.isin(images["mode"], (RAW, JPEG)).all())
