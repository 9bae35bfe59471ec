"""Writing .beton files, FFCV's format 2, from labelled images; FFCV's own Reader and Loader read them too.

FFCV's writer forks processes, hangs for ever where one fails, and scatters the samples; this one encodes in threads,
keeps the samples in order (so that a quasi-random order reads the file in runs), and tells which image is corrupt.
"""

import hashlib
import io
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from raykd import UserError
from raykd.data.config import Encoding
from raykd.data.order import uniform
from raykd.data.reading.pictures import DECODE_ERRORS, read_rgb
from raykd.data.sources.examples import Examples
from raykd.data.storage.header import ALLOCATION, FIELD, HEADER, IMAGE_FIELD, INT_FIELD, JPEG, RAW, SAMPLE, VERSION

PAGE = 8 << 20
SMART_LIMIT = 64 * 64 * 3


Encoded = tuple[int, int, int, bytes]  # mode, height, width, data


class Stored(NamedTuple):
    """One image as it is stored."""

    image: Encoded
    levels: np.ndarray  # [3, 256]: how many of its pixels have each level of each channel


@dataclass
class Written:
    """What was written of a split."""

    skipped: list[str] = field(default_factory=list)
    """A line for each image that was left out."""
    labels: list[int] = field(default_factory=list)
    digests: list[int] = field(default_factory=list)
    """Of each image as it is stored: equal images have equal ones."""
    sides: tuple[int, int] = (0, 0)
    """The shortest and the longest side, in pixels."""
    levels: np.ndarray = field(default_factory=lambda: np.zeros((3, 256), np.int64))

    def add(self, stored: Stored, label: int) -> None:
        _, height, width, data = stored.image
        self.sides = min(height, width, self.sides[0] or height), max(height, width, self.sides[1])
        self.levels += stored.levels
        self.labels.append(label)
        digest = hashlib.blake2b(data, digest_size=8, person=b"%d*%d" % (height, width)).digest()
        self.digests.append(int.from_bytes(digest, "little"))

    def mean_and_std(self) -> tuple[list[float], list[float]]:
        """Of each channel of all pixels, scaled to [0, 1]; a channel of one level only gets the least deviation."""
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
    return RAW if raw else JPEG, height, width, data


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """A JPEG with a restart marker after every row of 16-pixel blocks.

    It lets the reader start at the first row that a crop needs.
    """
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


def write(
    path: Path,
    examples: Examples,
    classes: int,
    encoding: Encoding,
    *,
    skip_corrupt: bool = False,
    tick: Callable[[int], None] = lambda size: None,
) -> Written:
    """Write one split. `tick` is told the bytes of each image; whatever it raises ends the writing.

    Raises UserError at a corrupt image (unless skip_corrupt) and at a label outside the classes, by name.
    """
    labels = np.asarray(examples.labels, np.int64)
    for position in np.flatnonzero((labels < -1) | (labels >= classes))[:1]:
        raise UserError(f"{examples.name(position)} has label {labels[position]}, outside the {classes} classes")
    written = Written()
    metadata, allocations = np.zeros(len(labels), SAMPLE), np.zeros(len(labels), ALLOCATION)
    start = HEADER.itemsize + 2 * FIELD.itemsize + metadata.nbytes
    count, pointer = 0, -(-start // PAGE) * PAGE
    with path.open("wb") as file:
        for position, result in _encoded(examples, encoding):
            if isinstance(result, Exception):
                written.skipped.append(_explained(examples.name(position), result, skip_corrupt))
                tick(0)
                continue
            mode, height, width, data = result.image
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
            written.add(result, int(labels[position]))
            tick(len(data))
        _finish(file, metadata[:count], allocations[:count], pointer)
    return written


def _explained(name: str, error: Exception, skip: bool) -> str:
    message = f"{name} can't be read: {error}"
    if not skip:
        raise UserError(f"{message} (--skip-corrupt leaves such images out)")
    return message


def _finish(file: BinaryIO, metadata: np.ndarray, allocations: np.ndarray, pointer: int) -> None:
    table = -(-pointer // 8) * 8
    file.seek(table)
    file.write(allocations.tobytes())
    fields = np.zeros(2, FIELD)
    for row, (name, kind) in zip(fields, (("image", IMAGE_FIELD), ("label", INT_FIELD)), strict=True):
        row["type_id"], row["name"][: len(name)] = kind, np.frombuffer(name.encode(), np.uint8)
    file.seek(0)
    file.write(np.array((VERSION, 2, PAGE, len(metadata), table), HEADER).tobytes())
    file.write(fields.tobytes())
    file.write(metadata.tobytes())


def _encoded(examples: Examples, encoding: Encoding) -> Iterator[tuple[int, Stored | Exception]]:
    """Encoded images in order, a bounded number of them ahead."""

    def one(position: int) -> Stored | Exception:
        try:
            pixels = read_rgb(examples.read(position), encoding.ground, encoding.white)
            pixels = _bounded(np.ascontiguousarray(pixels), encoding.max_resolution)
            levels = np.array(Image.fromarray(pixels).histogram(), np.int64).reshape(3, 256)
            return Stored(encode(pixels, encoding, position), levels)
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
