"""Colour operations against torchvision's, and the distribution of their random numbers."""

import numpy as np
import pytest
import torch

from raykd.data import order
from raykd.data.augment import colour
from raykd.data.augment.geometry import geometry
from raykd.data.augment.pipeline import Pipeline
from raykd.data.ffcv.kernels.colour import recolour
from raykd.data.torch_engine import recolour as torchvision_operation
from raykd.data.transforms import ColorJitter, Cutout, RandAugment
from tests.support.toy import photograph

STEPS = Pipeline(geometry=geometry((), 40), colour_steps=(Cutout(side=9),), fill=(10, 20, 30), seed=0)
# Operation, value, tolerated error in levels, tolerated share of pixels beyond it (edges of warps, ties of rounding).
CASES = [
    (colour.SHEAR_X, 0.217, 0, 0.01),
    (colour.SHEAR_Y, -0.293, 0, 0.01),
    (colour.TRANSLATE_X, 7, 0, 0.0),
    (colour.TRANSLATE_Y, -5, 0, 0.0),
    (colour.ROTATE, 17.0, 0, 0.01),
    (colour.BRIGHTNESS, 1.4, 1, 0.0),
    (colour.SATURATION, 0.3, 1, 0.0),
    (colour.CONTRAST, 1.7, 1, 0.0),
    (colour.SHARPNESS, 0.2, 1, 0.0),
    (colour.POSTERIZE, 4, 0, 0.0),
    (colour.SOLARIZE, 128.0, 0, 0.0),
    (colour.AUTOCONTRAST, 0, 1, 0.0),
    (colour.EQUALIZE, 0, 0, 0.0),
    (colour.HUE, 0.2, 1, 0.001),
    (colour.HUE, -0.4, 1, 0.001),
    (colour.IDENTITY, 0, 0, 0.0),
]


@pytest.mark.parametrize(("operation", "value", "levels", "share"), CASES)
def test_operations_equal_torchvisions(operation, value, levels, share):
    image = photograph(operation, 40, 40)
    entry = np.array([operation, value, 0.0])
    ours = image[None].copy()
    recolour(ours, entry[None, None], 0, np.zeros(3, np.uint8))
    theirs = torchvision_operation(torch.from_numpy(image).permute(2, 0, 1), entry, STEPS).permute(1, 2, 0).numpy()
    assert (np.abs(ours[0].astype(int) - theirs) > levels).mean() <= share


@pytest.mark.parametrize("corner", [(-4, 3), (20, 35), (0, 0)])
def test_cutout_fills_a_square_with_the_mean(corner):
    image = photograph(1, 40, 40)
    ours, expected = image[None].copy(), image.copy()
    recolour(ours, np.array([[[colour.CUTOUT, *corner]]], float), 9, np.array((10, 20, 30), np.uint8))
    expected[max(corner[0], 0) : corner[0] + 9, max(corner[1], 0) : corner[1] + 9] = (10, 20, 30)
    assert (ours[0] == expected).all()


def test_random_numbers_cover_their_ranges():
    keys = order.keys(0, 0, np.arange(4000))
    entries = colour.program((ColorJitter(brightness=0.4, hue=0.1), RandAugment(operations=2, magnitude=9)), keys, 40)
    brightness = entries[:, :4][entries[:, :4, 0] == colour.BRIGHTNESS][:, 1]
    hue = entries[:, :4][entries[:, :4, 0] == colour.HUE][:, 1]
    assert len(brightness) == len(hue) == 4000
    assert 0.6 <= brightness.min() < 0.61 and 1.39 < brightness.max() <= 1.4
    assert -0.1 <= hue.min() < -0.099 and 0.099 < hue.max() <= 0.1
    drawn = np.bincount(entries[:, 4:, 0].astype(int).ravel(), minlength=14)
    assert len(drawn) == 14 and drawn.min() > 450  # 571 expected of each
    rotations = entries[:, 4:][entries[:, 4:, 0] == colour.ROTATE][:, 1]
    assert set(np.round(rotations, 9)) == {-9.0, 9.0}
