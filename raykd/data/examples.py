"""The splits that a source returns: images that can be read by position, and their labels."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from raykd import UserError
from raykd.data.order import held_out
from raykd.data.reading.labels import number_labels
from raykd.data.reading.pictures import Picture


class Examples(NamedTuple):
    """One split of a data set; images are read on demand."""

    labels: Sequence[int]
    """Class number of each image, from 0; −1: it has no label."""
    read: Callable[[int], Picture]
    """Returns the image at a position: a path, the bytes of an image file, an array [H, W] or [H, W, 1 to 4], or an
    image of PIL. It may raise OSError or ValueError if the image is corrupt."""
    name: Callable[[int], str]
    """Returns the name in messages of the image at a position: a path, or a position in an archive."""


class Splits(NamedTuple):
    """A data set, as `Source.open` returns it."""

    classes: tuple[str, ...]
    """Names of the classes 0, 1, …"""
    train: Examples
    """Training images; some or all may have no label."""
    test: Examples
    """Test images, all with labels."""
    notes: tuple[str, ...] = ()
    """Messages for the user: what was left out, and what was assumed."""


def from_arrays(images: np.ndarray | Sequence[np.ndarray], labels: Sequence[int], origin: str) -> Examples:
    """Examples of uint8 images [N, H, W, 3], or N images [H, W, 3], in memory. origin: their name in messages."""
    return Examples(labels, lambda i: images[i], lambda i: f"{origin}, image {i}")


def subset(examples: Examples, positions: Sequence[int]) -> Examples:
    """Some of the examples, in this order."""
    labels = [examples.labels[i] for i in positions]
    return Examples(labels, lambda i: examples.read(positions[i]), lambda i: examples.name(positions[i]))


def numbered(train: Examples, test: Examples | None, names: Sequence[str], share: float, origin: str) -> Splits:
    """Splits of examples whose labels are still as the source has them, see `number_labels`.

    share: of the training images that become the test split, see `split_off_test`, where there is none.
    """
    classes, trained, tested = number_labels(train.labels, test.labels if test else (), names, origin)
    train = train._replace(labels=trained)
    if test is None:
        return split_off_test(classes, train, share, origin)
    return Splits(classes, train, test._replace(labels=tested))


def split_off_test(classes: tuple[str, ...], examples: Examples, share: float, origin: str) -> Splits:
    """Splits of a data set without a test split: a share, from 0 to 1, of each class is held out as one.

    origin: its name in messages. Raises UserError if the share is 0, or if there are too few images.
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
