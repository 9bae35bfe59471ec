"""The handwritten digits that come with scikit-learn: nothing to download."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raykd.data.config import Source
from raykd.data.examples import Splits, from_arrays

TEST_SIZE = 450
SPLIT_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Digits(Source):
    """scikit-learn's digits (UCI Optical Recognition of Handwritten Digits, test part), 8×8 upscaled to 32×32×3.

    The training split, scaled to [0, 1], has mean 0.3053 and standard deviation 0.3758 in every channel.
    """

    name = "digits"
    description = "scikit-learn's 1,797 handwritten digits, 10 classes, 32×32; nothing to download"

    def open(self, root: Path, download: bool) -> Splits:
        """A fixed stratified split: 1,347 to train, 450 to test."""
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        digits = load_digits()
        images = upscale(digits.images)
        train, test = train_test_split(
            np.arange(len(images)), test_size=TEST_SIZE, random_state=SPLIT_SEED, stratify=digits.target
        )
        trained, tested = (from_arrays(images[part], digits.target[part].tolist(), "digits") for part in (train, test))
        return Splits(tuple(str(digit) for digit in range(10)), trained, tested)


def upscale(images: np.ndarray) -> np.ndarray:
    """Intensities 0–16 [N, 8, 8] → uint8 [N, 32, 32, 3]: every pixel becomes 4×4, grey becomes RGB."""
    levels = np.rint(images * (255 / 16)).astype(np.uint8)
    return np.repeat(np.repeat(levels, 4, axis=1), 4, axis=2)[..., None].repeat(3, axis=3)
