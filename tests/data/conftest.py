"""A small data set for the data tests."""

import pytest

from raykd.data.config import Data, Encoding
from raykd.data.transforms import Flip, RandomCrop
from tests.support.toy import Toy


@pytest.fixture
def toy(tmp_path):
    """A Data of 30 raw 16×16 images, cropped and flipped; keyword arguments override."""

    def make(**changes) -> Data:
        settings = {
            "source": Toy(),
            "image_size": 16,
            "mean": (0.4, 0.5, 0.6),
            "std": (0.2, 0.25, 0.3),
            "train": (RandomCrop(padding=3), Flip()),
            "encoding": Encoding(mode="raw"),
            "root": str(tmp_path / "data"),
        }
        return Data(**(settings | changes))

    return make
