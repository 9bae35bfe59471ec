"""A custom data set: generated images of squares and discs.

raykd train own_source.py
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from raykd.data.config import Source
from raykd.data.examples import Examples, Splits, from_arrays
from raykd.fields import PositiveInt
from raykd.recipes.digits.supervised import recipe as digits


@dataclass(frozen=True, kw_only=True)
class Shapes(Source):
    name: ClassVar[str] = "shapes"
    description: ClassVar[str] = "squares and discs of random colours, places and sizes"
    images: PositiveInt = 512
    """Number of training images; there are a quarter as many test images."""

    def open(self, root: Path, download: bool) -> Splits:
        return Splits(("square", "disc"), draw(self.images, seed=0), draw(self.images // 4, seed=1))


def draw(count: int, seed: int, side: int = 32) -> Examples:
    """`count` images [side, side, 3], half of each class."""
    rng, (y, x) = np.random.default_rng(seed), np.mgrid[:side, :side]
    labels = (np.arange(count) % 2).tolist()
    images = np.zeros((count, side, side, 3), np.uint8)
    for image, label in zip(images, labels, strict=True):
        radius, down, right = rng.integers(4, 9), *rng.integers(9, side - 9, 2)
        away = np.hypot(y - down, x - right) if label else np.maximum(abs(y - down), abs(x - right))
        image[away <= radius] = rng.integers(60, 256, 3)
    return from_arrays(images, labels, "shapes")


recipe = replace(digits, data=replace(digits.data, source=Shapes(), mean=None, std=None))
