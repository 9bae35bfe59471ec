"""A source's splits: images that can be read by position, and their labels."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from raykd import UserError
from raykd.data.order import held_out
from raykd.data.reading.pictures import Picture


class Examples(NamedTuple):
    """One split."""

    labels: Sequence[int]
    """Class numbers; −1: missing."""
    read: Callable[[int], Picture]
    """From a position to the picture, for `read_rgb`; may raise OSError or ValueError if it is corrupt."""
    name: Callable[[int], str]
    """From a position to the image's name in messages: a path, or a position in an archive."""


class Splits(NamedTuple):
    """A data set."""

    classes: tuple[str, ...]
    train: Examples
    test: Examples
    notes: tuple[str, ...] = ()
    """Messages for the user: what was left out, and what was assumed."""


def from_arrays(images: np.ndarray | Sequence[np.ndarray], labels: Sequence[int], origin: str) -> Examples:
    """Examples of images [N, H, W, 3] in memory."""
    return Examples(labels, lambda i: images[i], lambda i: f"{origin}, image {i}")


def subset(examples: Examples, positions: Sequence[int]) -> Examples:
    """Some of the examples, in this order."""
    labels = [examples.labels[i] for i in positions]
    return Examples(labels, lambda i: examples.read(positions[i]), lambda i: examples.name(positions[i]))


def split_off_test(classes: tuple[str, ...], examples: Examples, share: float, origin: str) -> Splits:
    """Splits of a data set without a test split, which gets a share of each class of the training images.

    Raises UserError if the share is 0, or of too few images.
    """
    if not any(label >= 0 for label in examples.labels):  # none has a label: for `Mixed`
        return Splits(classes, examples, from_arrays([], [], origin))
    if not share:
        raise UserError(f"{origin} has no test split: set data.source.test_share above 0")
    held = held_out(np.asarray(examples.labels, np.int64), share)
    if not held.any():
        raise UserError(
            f"{origin} has no test split, and too few labelled images to hold out {share:.0%} of them: add images"
        )
    train, test = (subset(examples, np.flatnonzero(part).tolist()) for part in (~held, held))
    return Splits(classes, train, test, (f"{origin} has no test split: {share:.0%} of each class is held out as one",))


def concatenate(first: Examples, second: Examples) -> Examples:
    """The examples of both, one after the other."""
    count = len(first.labels)

    def at(i: int) -> tuple[Examples, int]:
        return (first, i) if i < count else (second, i - count)

    def read(i: int) -> Picture:
        part, position = at(i)
        return part.read(position)

    def name(i: int) -> str:
        part, position = at(i)
        return part.name(position)

    return Examples([*first.labels, *second.labels], read, name)
