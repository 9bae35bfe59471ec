"""Which images of a data set are trained on, in which order, and which are evaluated with."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor

from raykd import UserError
from raykd.data import order
from raykd.data.config import Data, Prepared
from raykd.data.storage.header import Header, open_header


def check_split(data: Data, prepared: Prepared) -> None:
    """Raise UserError if `data.validation` leaves no image to train on, or none to evaluate with."""
    labels = open_header(prepared.train, prepared).labels
    training_subset(labels, data.validation, prepared.classes)
    evaluation_subset(labels, data.validation)


def training_labels(data: Data, prepared: Prepared) -> Tensor:
    """The class of each row of the training file, [N]; −1: held out for validation, or without a label."""
    labels = open_header(prepared.train, prepared).labels
    return torch.from_numpy(np.where(order.held_out(labels, data.validation), -1, labels)).long()


def training_subset(labels: np.ndarray, held_out: float, classes: Sequence[str]) -> np.ndarray:
    """Positions of the training images [n]; raises UserError if a class has none left."""
    subset = np.flatnonzero(~order.held_out(labels, held_out))
    lost = np.setdiff1d(labels[labels >= 0], labels[subset])
    if len(lost) or not len(subset):
        of = f" of class {classes[lost[0]]}" if len(lost) else ""
        raise UserError(f"data.validation: {held_out:g} leaves no training images{of}: lower it, or add images")
    return subset


def evaluation_subset(labels: np.ndarray, held_out: float) -> np.ndarray:
    """Positions of the evaluation images [n]; raises UserError if there are none."""
    subset = np.flatnonzero(order.held_out(labels, held_out)) if held_out else np.flatnonzero(labels >= 0)
    if not len(subset):
        raise UserError(
            f"data.validation: {held_out:g} is too small to hold out an image: increase it"
            if held_out
            else "the test split has no image with a label: hold out a share of the training split with data.validation"
        )
    return subset


def training_streams(data: Data, header: Header, subset: np.ndarray, seed: int) -> list[order.Stream]:
    """The streams that training reads: all images, or those with and those without a label, by their shares.

    Raises UserError if no training image is of a kind that has a share.
    """
    parts = [(subset, 1.0)]
    if data.labelled_share is not None:
        share, known = data.labelled_share, header.labels[subset] >= 0
        parts = [(subset[known], share), (subset[~known], 1.0 - share)]
        for kind, (positions, weight) in zip(("labelled", "unlabelled"), parts, strict=True):
            if weight and not len(positions):
                raise UserError(f"data.labelled_share: {share:g}, but no training image is {kind}: remove this setting")
    return [
        order.Stream(part, _order_of(data, header, part, seed), weight, data.views) for part, weight in parts if weight
    ]


def _order_of(data: Data, header: Header, subset: np.ndarray, seed: int) -> Callable[[int], np.ndarray]:
    """The subset's order [n] in each pass; the last ones are cached."""
    if data.order == "random":
        return partial(order.permutation, seed, size=len(subset))
    return lru_cache(maxsize=2)(partial(order.windowed, header.pages[subset], seed))
