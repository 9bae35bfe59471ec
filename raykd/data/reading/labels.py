"""Labels: numbers from 0 with class names; a missing label is −1."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from raykd import UserError

NONE = -1
MISSING = {"nan", "na", "n/a", "null", "none", "<na>"}  # what tables hold for a number that is not there


def number_labels(
    train: Iterable[Any], test: Iterable[Any], names: Sequence[str], origin: str
) -> tuple[tuple[str, ...], list[int], list[int]]:
    """Class names, and the labels of both splits as numbers of them, from labels as a source has them.

    Whole numbers count from their least one on, without gaps; text names its class; None is no label. names: those of
    0, 1, …; if there are none, numbers are their own names, and text is sorted. Raises UserError for anything else,
    naming the origin.
    """
    lists = [part.tolist() if isinstance(part, np.ndarray) else part for part in (train, test)]
    parts = [[_plain_label(label, origin) for label in labels] for labels in lists]
    known = {label for part in parts for label in part if label is not None}
    text = {label for label in known if isinstance(label, str)}
    if text and text != known:
        raise UserError(f"{origin} has numbers and text as labels, such as {min(text)!r}: use only one of them")
    numbers = sorted(label for label in known if isinstance(label, int))
    order: Sequence[int | str]
    if names:
        classes, order = tuple(names), tuple(names) if text else range(len(names))
    elif text:
        order = sorted(label for label in known if isinstance(label, str))
        classes = tuple(map(str, order))
    else:
        classes, order = tuple(map(str, numbers)), _without_gaps(numbers, origin)
    numbers_of = {label: i for i, label in enumerate(order)}
    for split, part in zip(("training", "test"), parts, strict=True):
        for label in part:
            if label is not None and label not in numbers_of:
                raise UserError(
                    f"{origin}: {split} label {label!r} is not one of the {len(classes)} classes: correct it, or add "
                    "the class"
                )
    encoded = [[NONE if label is None else numbers_of[label] for label in part] for part in parts]
    return classes, encoded[0], encoded[1]


def _plain_label(label: Any, origin: str) -> int | str | None:
    """A label as an integer, text, or None."""
    if label is None or label == "":
        return None
    if isinstance(label, bytes):
        label = label.decode("utf-8", "replace")
    if isinstance(label, (str, int)):
        return int(label) if isinstance(label, bool) else label
    if isinstance(label, (float, np.integer, np.floating)) and math.isfinite(label) and label == int(label):
        return int(label)
    raise UserError(f"{origin} has the label {str(label)[:40]!r}: labels must be text or integers")


def _without_gaps(known: Sequence[int], origin: str) -> Sequence[int]:
    """Consecutive numbers: a number without images would be a class without training data."""
    if known and known[0] < 0:
        raise UserError(f"{origin} has the label {known[0]}: labels are 0, 1, …; leave unlabelled images without one")
    for before, after in zip(known, known[1:]):
        if after != before + 1:
            raise UserError(
                f"{origin} has no training image with label {before + 1}, but one with {after}: number the classes "
                "without gaps, or give their names as labels"
            )
    return known


def renumbered(labels: list[Any], own: Sequence[str], known: Sequence[str], origin: str) -> list[Any]:
    """Labels that count a file's own class names, as numbers of the known names, which another file counts.

    Raises UserError if the file has an unknown or ambiguous class.
    """
    if not own or tuple(own) == tuple(known):
        return labels
    foreign = [name for name in own if list(known).count(name) != 1]
    if foreign:
        raise UserError(
            f"{origin} has the class {foreign[0]!r}, which the first file lacks or has twice: use the same classes in "
            "all files"
        )
    numbers_of = {number: list(known).index(name) for number, name in enumerate(own)}
    return [numbers_of.get(label, label) for label in labels]


def numerals(labels: Sequence[str | None], origin: str) -> list[int | str | None]:
    """Text of a file without types: numbers where every label is one, and none is the same as another.

    Raises UserError if all are numbers except words that mean a missing one.
    """
    known = {label for label in labels if label is not None}
    numbers = {label for label in known if label.removeprefix("-").isdecimal()}
    if numbers == known and len(set(map(int, numbers))) == len(numbers):
        return [None if label is None else int(label) for label in labels]
    missing = known - numbers
    if numbers and missing and all(word.casefold() in MISSING for word in missing):
        raise UserError(
            f"{origin} has the label {min(missing)!r} among numbers: leave the label of unlabelled images empty"
        )
    return list(labels)


def check_labels(labels: np.ndarray, classes: Sequence[str], split: str, name: Any) -> None:
    """Raise UserError unless the labels [N] are numbers of the classes, and each class of a training split has one.

    −1: missing, which only a training split may have. name: from a position to the image's name in messages.
    """
    wrong = (labels >= len(classes)) | (labels < (NONE if split == "train" else 0))
    for position in np.flatnonzero(wrong)[:1]:
        if labels[position] == NONE:
            raise UserError(
                f"{name(position)} is a test image without a label: evaluation needs a label for each test image"
            )
        raise UserError(f"{name(position)} has label {labels[position]}: labels must be 0 to {len(classes) - 1}")
    if split == "train" and (labels >= 0).any():
        expect_all(labels, classes)


def check_names(classes: Sequence[str], origin: str) -> None:
    """Raise UserError for a class's name that no file can hold."""
    for name in classes:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise UserError(f"{origin} has the class {name!r}, whose name is not valid UTF-8: rename it") from None


def expect_all(labels: np.ndarray, classes: Sequence[str]) -> None:
    """Raise UserError if a class has no training image."""
    missing = np.setdiff1d(np.arange(len(classes)), labels)
    if len(missing):
        shown = ", ".join(classes[i] for i in missing[:3]) + (", …" if len(missing) > 3 else "")
        raise UserError(
            f"there is no training image of class {shown} ({len(missing)} of {len(classes)}): add one, or remove the "
            "class"
        )
