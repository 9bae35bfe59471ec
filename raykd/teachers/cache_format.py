"""What a row of kept logits is: bytes in a file on one side, float32 logits [B, C] on the other."""

from dataclasses import dataclass

import numpy as np

from raykd import UserError


@dataclass(frozen=True)
class Full:
    """All logits, in one type."""

    classes: int
    kind: str  # of numpy

    @property
    def bytes(self) -> int:
        return self.classes * np.dtype(self.kind).itemsize

    def pack(self, logits: np.ndarray) -> np.ndarray:
        """Logits [B, C] → bytes [B, n]."""
        return np.ascontiguousarray(logits.astype(self.kind)).view(np.uint8)

    def unpack(self, rows: np.ndarray) -> np.ndarray:
        """Bytes [B, n] → float32 logits [B, C]."""
        return np.ascontiguousarray(rows).view(self.kind).astype(np.float32)


@dataclass(frozen=True)
class TopK:
    """The k largest logits in float16 with their classes, and the log of the sum of the others' exponentials.

    The others come back as equals of that sum: softmax then gives each kept class its own probability, to float16's
    rounding of its logit, and all others together theirs. With k = C this is `Full` in float16.
    """

    classes: int
    k: int

    def __post_init__(self):
        if not 0 < self.k <= self.classes:
            raise UserError(f"teachers.top_k: {self.k} must be from 1 to the data's {self.classes} classes")
        if self.classes > 65_536:
            raise UserError(
                f"teachers.cache: top-k numbers classes to 65,536, the data has {self.classes}: use float16"
            )

    @property
    def layout(self) -> np.dtype:
        return np.dtype([("logits", "<f2", (self.k,)), ("classes", "<u2", (self.k,)), ("rest", "<f4")])

    @property
    def bytes(self) -> int:
        return self.layout.itemsize

    def pack(self, logits: np.ndarray) -> np.ndarray:
        """Logits [B, C] → bytes [B, n]."""
        order = np.argpartition(-logits, self.k - 1, axis=1)
        rows = np.zeros(len(logits), self.layout)
        rows["classes"] = order[:, : self.k]
        rows["logits"] = np.take_along_axis(logits, order[:, : self.k], 1)
        if self.k < self.classes:
            others = np.take_along_axis(logits, order[:, self.k :], 1).astype(np.float64)
            rows["rest"] = np.logaddexp.reduce(others, axis=1)
        return rows.view(np.uint8).reshape(len(rows), -1)

    def unpack(self, rows: np.ndarray) -> np.ndarray:
        """Bytes [B, n] → float32 logits [B, C]."""
        found = np.ascontiguousarray(rows).view(self.layout).reshape(-1)
        each = found["rest"] - np.float32(np.log(max(1, self.classes - self.k)))
        logits = np.repeat(each[:, None], self.classes, axis=1)
        np.put_along_axis(logits, found["classes"].astype(np.int64), found["logits"].astype(np.float32), 1)
        return logits


def row(kind: str, classes: int, k: int) -> Full | TopK:
    """The row of a `teachers.cache` other than "none"."""
    return TopK(classes, k) if kind == "top-k" else Full(classes, kind)
