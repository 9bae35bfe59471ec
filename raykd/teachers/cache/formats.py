"""Formats of a cached tensor: the same number of bytes for every image, packed and unpacked on any device.

Rows of float16 or float32 numbers can be compressed without loss: bytes grouped by significance, then Zstandard.
"""

from dataclasses import dataclass
from functools import cache
from math import prod

import numpy as np
import pyarrow
import torch
from torch import Tensor

from raykd import UserError

PAGE = 4096  # the block size of file systems: unused blocks behind a compressed row take no disk space
TYPES = (torch.float32, torch.bfloat16, torch.float16)


def mark_of(values: Tensor) -> int:
    """Type and memory layout of a teacher's tensor as one byte: sums over another layout may round differently."""
    last = values.ndim == 4 and not values.is_contiguous() and values.is_contiguous(memory_format=torch.channels_last)
    return 2 * TYPES.index(values.dtype) + last


@dataclass(frozen=True)
class Full:
    """All values, in one type."""

    shape: tuple[int, ...]  # of one image's tensor
    kind: str  # float32 or float16

    @property
    def bytes(self) -> int:
        return prod(self.shape) * np.dtype(self.kind).itemsize

    def pack(self, values: Tensor) -> Tensor:
        """Values [B, …] → uint8 [B, bytes], in memory order."""
        ordered = values.permute(0, 2, 3, 1) if mark_of(values) % 2 else values
        return ordered.reshape(len(values), -1).to(getattr(torch, self.kind)).contiguous().view(torch.uint8)

    def unpack(self, rows: Tensor, mark: int) -> Tensor:
        """uint8 [B, bytes] → values [B, …] in the type and layout of the mark."""
        flat = rows.view(getattr(torch, self.kind)).to(TYPES[mark // 2])
        if mark % 2:
            channels, height, width = self.shape
            return flat.view(-1, height, width, channels).permute(0, 3, 1, 2)
        return flat.view(-1, *self.shape)

    def expect_exact(self, rows: np.ndarray, name: str) -> None:
        """Raise UserError if values do not fit the type."""
        if self.kind == "float16" and not np.isfinite(rows.view(np.float16)).all():
            raise UserError(f"teachers.cache: {name} has values that float16 can't hold: use --teachers.cache float32")


@dataclass(frozen=True)
class TopK:
    """The k largest logits in float16 with their classes, and the log of the sum of the others' exponentials.

    The others are unpacked as equal logits with that sum: softmax then gives each stored class its own probability, up
    to float16's rounding of its logit, and the others their total. With k = C this is `Full` in float16.
    """

    classes: int
    k: int

    def __post_init__(self) -> None:
        if not 0 < self.k <= self.classes:
            raise UserError(f"teachers.top_k: {self.k} must be from 1 to {self.classes}, the number of classes")
        if self.classes > 65_536:
            raise UserError(
                f"teachers.cache: top-k supports at most 65,536 classes, the data has {self.classes}: use float16"
            )

    @property
    def bytes(self) -> int:
        return 4 * self.k + 4

    def pack(self, logits: Tensor) -> Tensor:
        """Logits [B, C] → uint8 [B, bytes]."""
        largest, classes = logits.float().topk(self.k, dim=1)
        others = logits.double().scatter(1, classes, -torch.inf).logsumexp(1, keepdim=True)
        parts = (largest.to(torch.float16), classes.to(torch.int16), others.float())  # int16: the lower 16 bits
        return torch.cat([part.view(torch.uint8) for part in parts], 1)

    def unpack(self, rows: Tensor, mark: int) -> Tensor:
        """uint8 [B, bytes] → float32 logits [B, C]."""
        largest, classes, others = (part.contiguous() for part in rows.split((2 * self.k, 2 * self.k, 4), 1))
        each: Tensor = others.view(torch.float32) - float(np.log(max(1, self.classes - self.k)))
        index = classes.view(torch.int16).long() & 0xFFFF
        return each.expand(-1, self.classes).scatter(1, index, largest.view(torch.float16).float())

    def expect_exact(self, rows: np.ndarray, name: str) -> None:
        """Raise UserError if the largest logits do not fit their type."""
        Full((self.k,), "float16").expect_exact(np.ascontiguousarray(rows[:, : 2 * self.k]), name)


Format = Full | TopK


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
