"""Converts arbitrary pictures to the network's input, by the preprocessing of a run's evaluation."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from raykd import UserError
from raykd.contract import Placement
from raykd.data.augment.geometry import unusable
from raykd.data.augment.pipeline import evaluation
from raykd.data.config import Data, Prepared
from raykd.data.examples import from_arrays
from raykd.data.loader import TestLoader
from raykd.data.storage import beton
from raykd.storage.atomic import temporary_folder


def evaluation_images(
    pixels: Sequence[np.ndarray], data: Data, device: torch.device, channels_last: bool = False
) -> Tensor:
    """Pictures, each uint8 [H, W, 3], as normalised images [N, 3, S, S] on the device.

    They go through a file of the data's encoding and its loader, as the test split does: if its images are stored as
    JPEG, so are these. data: with mean and std. Raises UserError for a picture of a size that the evaluation does not
    accept.
    """
    check_sizes(pixels, data)
    with temporary_folder() as folder:
        path, count = folder / "pictures.beton", len(pixels)
        beton.write(path, from_arrays(pixels, [0] * count, "pictures"), data.encoding)
        prepared = Prepared(train=path, test=path, classes=("unknown",), train_size=count, test_size=count)
        loader = TestLoader(
            replace(data, validation=0.0),
            prepared,
            Placement(device, torch.get_num_threads()),
            batch_size=count,
            channels_last=channels_last,
        )
        (batch,) = loader.batches()
        return batch.images


def check_sizes(pixels: Sequence[np.ndarray], data: Data, name: str = "a picture") -> None:
    """Raise UserError with the name for a picture [H, W, 3] that the evaluation can't convert to the network's size."""
    shapes = np.array([picture.shape[:2] for picture in pixels]).reshape(-1, 2)
    for position in unusable(evaluation(data).geometry, shapes)[:1]:
        height, width = shapes[position]
        raise UserError(
            f"{name} is {width}×{height} pixels, but the run's evaluation requires {accepted_sizes(data)}: resize it "
            "first"
        )


def accepted_sizes(data: Data) -> str:
    """The sizes of pictures that the evaluation accepts, as text."""
    geometry, size = evaluation(data).geometry, data.image_size
    if geometry.resize:
        return "any size" if geometry.crop or not geometry.resize.keep_aspect else "square images"
    return f"{size}×{size} pixels or more" if geometry.crop else f"{size}×{size} pixels"
