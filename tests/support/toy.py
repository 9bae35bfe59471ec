"""Synthetic photographs, and a data set of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raykd.data.config import Source
from raykd.data.examples import Splits, from_arrays


def photograph(seed: int, height: int, width: int) -> np.ndarray:
    """A smooth coloured image with edges: something that JPEG is made for."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / 40.0
    waves = [np.sin(x * draw.uniform(0.5, 2) + draw.uniform(0, 6)) * np.cos(y * draw.uniform(0.5, 2)) for _ in range(3)]
    image = np.stack(waves, -1) * 90 + 128
    image[height // 3 : height // 2, width // 4 : width // 2] = draw.uniform(0, 255, 3)
    return np.clip(image + draw.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class Toy(Source):
    """Synthetic photographs; labels cycle."""

    name = "toy"
    train: int = 30
    test: int = 11
    height: int = 16
    width: int = 16

    def open(self, root: Path, download: bool) -> Splits:
        def split(count, seed):
            images = [photograph(seed + i, self.height, self.width) for i in range(count)]
            return from_arrays(images, [i % 3 for i in range(count)], "toy")

        return Splits(("a", "b", "c"), split(self.train, 0), split(self.test, 1000))
