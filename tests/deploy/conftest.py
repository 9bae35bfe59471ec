"""Two short runs: on the digits, and on a folder of JPEGs of many sizes, resized and cropped."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raykd.__main__ import main
from raykd.storage.folder import Folder

RECIPE = """
from dataclasses import replace
from raykd.data.config import Data
from raykd.data.sources.folders import ImageFolder
from raykd.data.transforms import CenterCrop, RandomResizedCrop, Resize
from raykd.models.config import Network
from raykd.recipes.digits.supervised import recipe as digits
data = Data(
    source=ImageFolder(path={images!r}), image_size=48, root={root!r},
    train=(RandomResizedCrop(),), test=(Resize(size=56), CenterCrop()),
)
recipe = replace(digits, data=data, student=Network(name="timm:test_resnet"), batch_size=16, epochs=2)
"""
QUICK = ["--workers", "0", "--wandb.mode", "disabled"]


def at_hand(run: Folder) -> list[str]:
    """Arguments with the location of the run's data."""
    return ["--data.root", json.loads(run.read("recipe.json"))["data"]["root"]]


@pytest.fixture(scope="session")
def storage(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("deploy")


@pytest.fixture(scope="session")
def digits(storage) -> Folder:
    words = ["recipes/digits/supervised.py", "--name", "digits", "--epochs", "1", "--storage", str(storage)]
    assert main(["train", *words, *QUICK]) == 0
    return Folder(storage / "digits")


@pytest.fixture(scope="session")
def images(storage) -> Path:
    """train and val of three classes (gratings of one colour and angle); val has 8 images of each."""
    random = np.random.default_rng(3)
    for split, count in (("train", 16), ("val", 8)):
        for name in ("fine", "middle", "coarse"):
            folder = storage / "images" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                grating(random, name).save(folder / f"{number}.jpg", quality=90)
    return storage / "images"


def grating(random: np.random.Generator, name: str) -> Image.Image:
    height, width = random.integers(50, 140, 2)
    y, x = np.mgrid[:height, :width]
    period, angle = {"fine": 5, "middle": 11, "coarse": 23}[name], random.uniform(0, np.pi)
    wave = np.sin(2 * np.pi / period * (x * np.cos(angle) + y * np.sin(angle)))[..., None]
    levels = 128 + 80 * wave * random.uniform(0.5, 1, 3) + random.normal(0, 8, (height, width, 3))
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def folder_run(storage, images) -> Folder:
    recipe = storage / "gratings.py"
    recipe.write_text(RECIPE.format(images=str(images), root=str(storage / "data")))
    assert main(["train", str(recipe), "--name", "gratings", "--storage", str(storage), *QUICK]) == 0
    return Folder(storage / "gratings")
