"""A few images of a run's data, for comparing an exported network with the original, and for calibration."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from raykd.contract import Placement
from raykd.data.config import Data, Prepared
from raykd.data.loader import TestLoader
from raykd.data.storage.header import open_header
from raykd.data.storage.prepare import folder_of, prepare
from raykd.data.torch_engine import decode

Split = Literal["train", "test"]


def ready(data: Data) -> bool:
    """Whether the data set's files are on this machine."""
    return data.source.prepared() is not None or (folder_of(data) / "manifest.json").exists()


def check_images(data: Data, count: int = 16) -> tuple[Tensor, str]:
    """Normalised images [N, 3, S, S] and their description: of the test split, or random if its files are elsewhere.

    No files are written or downloaded.
    """
    if ready(data):
        images = spread_images(data, prepare(data), "test", count)
        return images, f"{len(images)} images of the test split"
    random = torch.Generator().manual_seed(0)
    images = torch.randn(count, 3, data.image_size, data.image_size, generator=random)
    return images, "random images: the data set is not on this machine"


def check_pictures(data: Data, count: int = 8) -> tuple[list[np.ndarray], str]:
    """As `check_images`, but before resizing: uint8 [H, W, 3] each."""
    if ready(data):
        pictures = stored_pictures(prepare(data), count)
        return pictures, f"{len(pictures)} images of the test split"
    random, side = np.random.default_rng(0), data.image_size
    pictures = [random.integers(0, 256, (side, side, 3), np.uint8) for _ in range(count)]
    return pictures, "random images: the data set is not on this machine"


def spread_images(data: Data, prepared: Prepared, split: Split, count: int) -> Tensor:
    """At least one and up to about `count` images of a split, evenly spread over its file.

    [N, 3, S, S], with the evaluation's preprocessing, also for the training split.
    """
    path, size = _file(prepared, split)
    stride = max(1, size // count)
    placement = Placement(torch.device("cpu"), torch.get_num_threads(), world=stride)
    data, prepared = replace(data, validation=0.0), replace(prepared, test=path)
    loader = TestLoader(data, prepared, placement, batch_size=count * stride)
    return next(loader.batches()).images.clone()


def stored_pictures(prepared: Prepared, count: int) -> list[np.ndarray]:
    """As `spread_images` of the test split, as the images are stored."""
    path, size = _file(prepared, "test")
    header = open_header(path, prepared)
    positions = range(0, size, max(1, size // count))
    return [np.ascontiguousarray(decode(header, i).permute(1, 2, 0).numpy()) for i in positions[:count]]


def _file(prepared: Prepared, split: Split) -> tuple[Path, int]:
    if split == "train" or prepared.test is None:
        return prepared.train, prepared.train_size
    return prepared.test, prepared.test_size
