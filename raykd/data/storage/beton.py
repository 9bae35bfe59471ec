"""Writes .beton files, FFCV's format 2, from labelled images; FFCV's own Reader and Loader read them too.

FFCV's writer forks processes, hangs forever if one fails, and scatters the samples; this one encodes in threads, keeps
the samples in order (so that a quasi-random order reads consecutive bytes), and names corrupt images.
"""

import hashlib
import io
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from raykd import UserError
from raykd.data.config import Encoding
from raykd.data.examples import Examples
from raykd.data.order import uniform
from raykd.data.reading.pictures import DECODE_ERRORS, read_rgb
from raykd.data.storage.header import ALLOCATION, FIELD, HEADER, IMAGE_FIELD, INT_FIELD, JPEG, RAW, SAMPLE, VERSION

PAGE = 8 << 20
SMART_LIMIT = 64 * 64 * 3


class Encoded(NamedTuple):
    """One image as it is stored."""

    mode: int  # RAW or JPEG
    height: int
    width: int
    data: bytes
    levels: np.ndarray  # [3, 256]: how many of its pixels have each level of each channel


@dataclass(frozen=True)
class WrittenSplit:
    """The images of a written split, N in all."""

    skipped: list[str]
    """A line for each image that was left out."""
    labels: np.ndarray
    """[N] int64; −1: none."""
    shapes: np.ndarray
    """[N, 2], height and width."""
    digests: np.ndarray
    """[N] uint64, a hash of each image as it is stored."""
    levels: np.ndarray
    """[3, 256]: how many of all pixels have each level of each channel."""

    def mean_and_std(self) -> tuple[list[float], list[float]]:
        """Of each channel of all pixels, scaled to [0, 1]; the deviation is at least 0.001."""
        scale, counts = np.arange(256) / 255, self.levels.sum(1)
        mean = self.levels @ scale / counts
        return mean.tolist(), np.sqrt(np.maximum(self.levels @ scale**2 / counts - mean**2, 1e-6)).tolist()


def encode(image: np.ndarray, encoding: Encoding, position: int) -> Encoded:
    """One uint8 image [H, W, 3] as it is stored."""
    height, width = image.shape[:2]
    raw = {
        "raw": True,
        "jpeg": False,
        "smart": image.nbytes <= SMART_LIMIT,
        "proportion": uniform(0x524157, position)[0] < encoding.raw_share,
    }[encoding.mode]
    data = image.tobytes() if raw else encode_jpeg(image, encoding.quality)
    levels = np.array(Image.fromarray(image).histogram(), np.int64).reshape(3, 256)
    return Encoded(RAW if raw else JPEG, height, width, data, levels)


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """A JPEG of an image [H, W, 3] with a restart marker after every row of 16-pixel blocks.

    So the reader can start at the first row that a crop needs.
    """
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling="4:2:0", restart_marker_rows=1)
    return file.getvalue()


def _shrink(image: np.ndarray, longest: int) -> np.ndarray:
    """An image [H, W, 3] resized so that its longer side is at most `longest`; 0: unchanged."""
    height, width = image.shape[:2]
    if longest == 0 or max(height, width) <= longest:
        return image
    scale = longest / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def write(
    path: Path,
    examples: Examples,
    encoding: Encoding,
    *,
    skip_corrupt: bool = False,
    tick: Callable[[int], None] = lambda size: None,
) -> WrittenSplit:
    """Write one split. tick: called with the bytes of each image; its exceptions end the writing.

    Raises UserError, naming the image, if one is corrupt (unless skip_corrupt), or larger than a page when encoded.
    """
    tables, levels, skipped = _Tables(len(examples.labels)), np.zeros((3, 256), np.int64), []
    with path.open("wb") as file:
        for position, image in _encoded(examples, encoding):
            name = examples.name(position)
            if isinstance(image, Exception):
                skipped.append(f"{name} can't be read: {image}")
                if not skip_corrupt:
                    raise UserError(f"{skipped[0]} (--skip-corrupt skips such images)")
                tick(0)
                continue
            size = len(image.data)
            if size > PAGE:
                raise UserError(f"{name} has {size:,} bytes, more than a page: set data.encoding.max_resolution")
            file.seek(tables.add(image, examples.labels[position]))
            file.write(image.data)
            levels += image.levels
            tick(size)
        tables.write(file)
    return WrittenSplit(skipped, *tables.columns(), levels)


class _Tables:
    """The metadata and allocations of a file's images, none of which crosses the border of a page."""

    def __init__(self, samples: int):
        self.metadata, self.allocations = np.zeros(samples, SAMPLE), np.zeros(samples, ALLOCATION)
        self.digests = np.zeros(samples, np.uint64)
        self.count, self.end = 0, _round_up(HEADER.itemsize + 2 * FIELD.itemsize + self.metadata.nbytes, PAGE)

    def add(self, image: Encoded, label: int) -> int:
        """Append an image; returns the position of its data in the file."""
        start, size = self.end, len(image.data)
        if start // PAGE != (start + size - 1) // PAGE:
            start = _round_up(start, PAGE)
        self.metadata[self.count] = (image.mode, image.width, image.height, start), label
        self.allocations[self.count] = self.count, start, size
        digest = hashlib.blake2b(image.data, digest_size=8, person=b"%d*%d" % (image.height, image.width)).digest()
        self.digests[self.count] = int.from_bytes(digest, "little")
        self.count, self.end = self.count + 1, start + size
        return start

    def columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Labels, shapes and digests of the images; see `WrittenSplit`."""
        images, labels = self.metadata["f0"][: self.count], self.metadata["f1"][: self.count]
        return labels, np.stack([images["height"], images["width"]], 1), self.digests[: self.count]

    def write(self, file: BinaryIO) -> None:
        """Write the header, the fields and both tables."""
        position = _round_up(self.end, 8)
        file.seek(position)
        file.write(self.allocations[: self.count].tobytes())
        fields = np.zeros(2, FIELD)
        for row, (name, kind) in zip(fields, (("image", IMAGE_FIELD), ("label", INT_FIELD)), strict=True):
            row["type_id"], row["name"][: len(name)] = kind, np.frombuffer(name.encode(), np.uint8)
        file.seek(0)
        file.write(np.array((VERSION, 2, PAGE, self.count, position), HEADER).tobytes())
        file.write(fields.tobytes())
        file.write(self.metadata[: self.count].tobytes())


def _round_up(position: int, unit: int) -> int:
    return -(-position // unit) * unit


def _encoded(examples: Examples, encoding: Encoding) -> Iterator[tuple[int, Encoded | Exception]]:
    """Positions and encoded images in order; threads encode up to 256 of them ahead."""

    def one(position: int) -> Encoded | Exception:
        try:
            pixels = read_rgb(examples.read(position), encoding.ground, encoding.white)
            return encode(_shrink(np.ascontiguousarray(pixels), encoding.max_resolution), encoding, position)
        except DECODE_ERRORS as error:
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
