"""What a source hands to the writer: labelled images that can be read by position."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np


class Examples(NamedTuple):
    """One split."""

    labels: Sequence[int]
    read: Callable[[int], np.ndarray]
    """Position → uint8 [H, W, 3]; raises OSError or ValueError where the image is corrupt."""
    name: Callable[[int], str]
    """Position → what a person knows the image by: a path, or a place in an archive."""


class Splits(NamedTuple):
    """A data set."""

    classes: tuple[str, ...]
    train: Examples
    test: Examples


def from_arrays(images: np.ndarray, labels: Sequence[int], origin: str) -> Examples:
    """Examples of uint8 images [N, H, W, 3] in memory."""
    return Examples(labels, lambda i: images[i], lambda i: f"{origin}, image {i}")
