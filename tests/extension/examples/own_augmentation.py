"""A custom augmentation: random gamma, defined as torchvision's `adjust_gamma`.

raykd train own_augmentation.py
"""

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from numba import njit, prange

from raykd.data.transforms import Operation, RandomCrop
from raykd.fields import Interval
from raykd.recipes.digits.supervised import recipe as digits


@dataclass(frozen=True, kw_only=True)
class RandomGamma(Operation):
    """out = 255 (in / 255)^γ, with log γ uniform."""

    most: Annotated[float, Interval(gt=1, le=10)] = 1.5
    """γ is drawn from [1 / most, most]."""

    def draw(self, numbers: np.ndarray, size: int) -> np.ndarray:
        return self.most ** (2 * numbers[:, 0] - 1)

    def apply(self, images: np.ndarray, drawn: np.ndarray) -> None:
        raise_to(images, drawn)


@njit(parallel=True, cache=True, nogil=True)
def raise_to(images, gamma):
    """Raise images, uint8 [B, S, S, 3], to the power gamma [B] by a table of the 256 levels, in place."""
    for i in prange(len(images)):
        table = np.empty(256, np.uint8)
        for level in range(256):
            table[level] = np.uint8(min(255.999 * (level / 255.0) ** gamma[i], 255.0))
        flat = images[i].reshape(-1)
        for j in range(len(flat)):
            flat[j] = table[flat[j]]


recipe = replace(digits, data=replace(digits.data, train=(RandomCrop(padding=4), RandomGamma())))
