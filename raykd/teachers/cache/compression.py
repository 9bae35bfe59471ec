"""Lossless compression of one row of float16 or float32 numbers: the bytes of equal weight together, then Zstandard."""

from functools import cache

import numpy as np
import pyarrow

PAGE = 4096  # what a file system allots at once: what a compressed row leaves of its place takes no room


def suits(size: int) -> bool:
    """Whether rows of so many bytes can leave room."""
    return size >= 2 * PAGE


@cache
def _codec() -> pyarrow.Codec:
    return pyarrow.Codec("zstd", compression_level=1)


def compress(row: np.ndarray, width: int) -> np.ndarray:
    """uint8 [n] of numbers of `width` bytes → fewer bytes, or the row itself where it does not shrink."""
    planes = np.ascontiguousarray(row.reshape(-1, width).T)
    packed = np.frombuffer(_codec().compress(planes), np.uint8)
    return packed if len(packed) < len(row) else row


def decompress(packed: np.ndarray, size: int, width: int) -> np.ndarray:
    """The row of `size` bytes that `compress` was given."""
    if len(packed) == size:
        return packed
    planes = np.frombuffer(_codec().decompress(np.ascontiguousarray(packed), decompressed_size=size), np.uint8)
    return planes.reshape(width, -1).T.reshape(-1)
