"""Lossless compression of a row of float16 or float32 numbers: bytes grouped by significance, then Zstandard."""

from functools import cache

import numpy as np
import pyarrow

PAGE = 4096  # the block size of file systems: unused blocks behind a compressed row take no disk space


def suits(size: int) -> bool:
    """Whether compressing rows of this many bytes can save disk space."""
    return size >= 2 * PAGE


@cache
def _codec() -> pyarrow.Codec:
    return pyarrow.Codec("zstd", compression_level=1)


def compress(row: np.ndarray, width: int) -> np.ndarray:
    """uint8 [n] of numbers of `width` bytes → fewer bytes, or the row itself if it does not shrink."""
    planes = np.ascontiguousarray(row.reshape(-1, width).T)
    packed = np.frombuffer(_codec().compress(planes), np.uint8)
    return packed if len(packed) < len(row) else row


def decompress(packed: np.ndarray, size: int, width: int) -> np.ndarray:
    """The row of `size` bytes that `compress` was given."""
    if len(packed) == size:
        return packed
    planes = np.frombuffer(_codec().decompress(np.ascontiguousarray(packed), decompressed_size=size), np.uint8)
    return planes.reshape(width, -1).T.reshape(-1)
