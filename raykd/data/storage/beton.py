"""Writing .beton files, FFCV's format 2, from labelled images; FFCV's own Reader and Loader read them too.

FFCV's writer forks processes, hangs for ever where one fails, and scatters the samples; this one encodes in threads,
keeps the samples in order (so that a quasi-random order reads the file in runs), and tells which image is corrupt.
"""

import io
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from raykd import UserError
from raykd.data.config import Encoding
from raykd.data.order import INDEX_MASK, uniform
from raykd.data.sources.examples import Examples

VERSION, PAGE = 2, 8 << 20
JPEG, RAW = 0, 1
IMAGE_FIELD, INT_FIELD = 2, 1
SMART_LIMIT = 64 * 64 * 3

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

Encoded = tuple[int, int, int, bytes]  # mode, height, width, data


def encode(image: np.ndarray, encoding: Encoding, position: int) -> Encoded:
    """One uint8 image [H, W, 3] as it is stored."""
    image = _bounded(np.ascontiguousarray(image), encoding.max_resolution)
    height, width = image.shape[:2]
    raw = {
        "raw": True,
        "jpeg": False,
        "smart": image.nbytes <= SMART_LIMIT,
        "proportion": uniform(0x524157, position)[0] < encoding.raw_share,
    }[encoding.mode]
    return (RAW, height, width, image.tobytes()) if raw else (JPEG, height, width, _jpeg(image, encoding.quality))


def _jpeg(image: np.ndarray, quality: int) -> bytes:
    # A restart marker after every row of 16-pixel blocks lets the reader start at the first row that a crop needs.
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling="4:2:0", restart_marker_rows=1)
    return file.getvalue()


def _bounded(image: np.ndarray, longest: int) -> np.ndarray:
    height, width = image.shape[:2]
    if longest == 0 or max(height, width) <= longest:
        return image
    scale = longest / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def load(examples: Examples, position: int) -> np.ndarray:
    """An image, checked; raises OSError or ValueError that says what is wrong with it."""
    image = np.asarray(examples.read(position))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"not a uint8 image with 3 channels but {image.dtype} {list(image.shape)}")
    if max(image.shape) >= 1 << 16:
        raise ValueError(f"larger than 65,535 pixels: {list(image.shape)}")
    return image


def write(
    path: Path, examples: Examples, classes: int, encoding: Encoding, *, skip_corrupt: bool, tick: Callable[[int], None]
) -> list[str]:
    """Write one split; returns the names of the images that were skipped. `tick` is told the bytes of each image.

    Raises UserError at a corrupt image (unless skip_corrupt) and at a label outside the classes, by name.
    """
    labels = np.asarray(examples.labels, np.int64)
    for position in np.flatnonzero((labels < 0) | (labels >= classes))[:1]:
        raise UserError(f"{examples.name(position)} has label {labels[position]}, outside the {classes} classes")
    skipped: list[str] = []
    metadata, allocations = np.zeros(len(labels), SAMPLE), np.zeros(len(labels), ALLOCATION)
    start = HEADER.itemsize + 2 * FIELD.itemsize + metadata.nbytes
    count, pointer = 0, -(-start // PAGE) * PAGE
    with path.open("wb") as file:
        for position, result in _encoded(examples, encoding):
            if isinstance(result, Exception):
                message = f"{examples.name(position)} can't be read: {result}"
                if not skip_corrupt:
                    raise UserError(f"{message} (--skip-corrupt leaves such images out)")
                skipped.append(message)
                continue
            mode, height, width, data = result
            if len(data) > PAGE:
                raise UserError(
                    f"{examples.name(position)} takes {len(data)} bytes, more than a page: set max_resolution"
                )
            if pointer // PAGE != (pointer + len(data) - 1) // PAGE:
                pointer = -(-pointer // PAGE) * PAGE
            file.seek(pointer)
            file.write(data)
            metadata[count] = (mode, width, height, pointer), labels[position]
            allocations[count] = count, pointer, len(data)
            count, pointer = count + 1, pointer + len(data)
            tick(len(data))
        _finish(file, metadata[:count], allocations[:count], pointer)
    return skipped


def _finish(file, metadata: np.ndarray, allocations: np.ndarray, pointer: int) -> None:
    table = -(-pointer // 8) * 8
    file.seek(table)
    file.write(allocations.tobytes())
    fields = np.zeros(2, FIELD)
    for field, (name, kind) in zip(fields, (("image", IMAGE_FIELD), ("label", INT_FIELD)), strict=True):
        field["type_id"], field["name"][: len(name)] = kind, np.frombuffer(name.encode(), np.uint8)
    file.seek(0)
    file.write(np.array((VERSION, 2, PAGE, len(metadata), table), HEADER).tobytes())
    file.write(fields.tobytes())
    file.write(metadata.tobytes())


def _encoded(examples: Examples, encoding: Encoding) -> Iterator[tuple[int, Encoded | Exception]]:
    """Encoded images in order, a bounded number of them ahead."""

    def one(position: int) -> Encoded | Exception:
        try:
            return encode(load(examples, position), encoding, position)
        except (OSError, ValueError, SyntaxError) as error:  # PIL reports some broken files as SyntaxError
            return error

    todo = iter(range(len(examples.labels)))
    with ThreadPoolExecutor() as pool:
        ahead = deque((i, pool.submit(one, i)) for i in itertools.islice(todo, 256))
        try:
            while ahead:
                position, future = ahead.popleft()
                yield position, future.result()
                ahead.extend((i, pool.submit(one, i)) for i in itertools.islice(todo, 1))
        finally:
            pool.shutdown(cancel_futures=True)


def _inside(images: np.ndarray, allocations: np.ndarray, size: int, page: int) -> bool:
    """Whether every image lies in one page of the file and raw ones are as large as they say; decoders trust this."""
    sizes = np.zeros(len(images), np.uint64)
    known = allocations["sample_id"] < len(images)
    sizes[allocations["sample_id"][known].astype(np.int64)] = allocations["size"][known]
    starts = images["data_ptr"]
    fits = known.all() and (sizes > 0).all() and (starts < size).all() and (sizes <= size).all()
    if not fits or (starts + sizes > size).any() or (starts // page != (starts + sizes - np.uint64(1)) // page).any():
        return False
    shape = images["height"].astype(np.uint64), images["width"].astype(np.uint64)
    raw, pixels = images["mode"] == RAW, shape[0] * shape[1]
    return bool((pixels > 0).all() and (pixels * 3 == sizes)[raw].all() and np.isin(images["mode"], (RAW, JPEG)).all())


class Header:
    """What a .beton says of its samples, read and checked: any damage is a UserError that names the file."""

    def __init__(self, path: Path):
        try:
            size = path.stat().st_size
            header = np.fromfile(path, HEADER, 1)
        except OSError as error:
            raise UserError(f"{path} can't be read: {error.strerror}; run raykd data prepare") from None
        if len(header) == 0 or header[0]["version"] != VERSION or header[0]["num_fields"] != 2:
            raise UserError(f"{path} is not a .beton file of version {VERSION} with images and labels: delete it")
        header = header[0]
        count, table = int(header["num_samples"]), int(header["alloc_table_ptr"])
        start = HEADER.itemsize + 2 * FIELD.itemsize
        if (
            header["page_size"] == 0
            or table < start + count * SAMPLE.itemsize
            or table + count * ALLOCATION.itemsize > size
        ):
            raise UserError(f"{path} is truncated: delete it and run raykd data prepare again")
        fields = np.fromfile(path, FIELD, 2, offset=HEADER.itemsize)
        if fields["type_id"].tolist() != [IMAGE_FIELD, INT_FIELD]:
            raise UserError(f"{path} holds other fields than an image and a label: delete it")
        samples = np.fromfile(path, SAMPLE, count, offset=start)
        allocations = np.fromfile(path, ALLOCATION, count, offset=table)
        if not _inside(samples["f0"], allocations, size, int(header["page_size"])):
            raise UserError(
                f"{path} is damaged: its samples lie outside the file; delete it and run raykd data prepare again"
            )
        self.path, self.bytes, self.page_size = path, size, int(header["page_size"])
        self.labels: np.ndarray = samples["f1"].copy()
        self.sizes: np.ndarray = np.zeros(count, np.int64)
        self.sizes[allocations["sample_id"].astype(np.int64)] = allocations["size"]
        self.offsets: np.ndarray = samples["f0"]["data_ptr"].astype(np.int64)
        self.pages: np.ndarray = self.offsets // self.page_size
        self.jpeg: np.ndarray = samples["f0"]["mode"] == JPEG
        self.shapes: np.ndarray = np.stack([samples["f0"]["height"], samples["f0"]["width"]], 1).astype(np.int64)

    def check_status(self, tags: np.ndarray, status: np.ndarray) -> None:
        """Raise UserError if any of these samples could not be decoded."""
        for tag in tags[status != 0][:1]:
            raise UserError(f"{self.path}: image {tag & INDEX_MASK} is corrupt: delete the file and prepare it again")

    def check_labels(self, classes: int) -> None:
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < classes:
            raise UserError(f"{self.path} has labels outside the {classes} classes: delete it and prepare it again")
