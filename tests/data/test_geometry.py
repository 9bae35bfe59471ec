"""Crops: pixels against torchvision's for the same box, and the distribution of boxes against its definition."""

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import functional as F

from raykd import UserError
from raykd.data import order
from raykd.data.augment.geometry import boxes, geometry
from raykd.data.augment.pipeline import Pipeline
from raykd.data.config import Encoding
from raykd.data.examples import from_arrays
from raykd.data.ffcv.engine import Engine
from raykd.data.storage import beton
from raykd.data.storage.header import Header
from raykd.data.torch_engine import TorchEngine
from raykd.data.transforms import CenterCrop, Flip, RandomCrop, RandomResizedCrop, Resize
from tests.support.toy import photograph

SIDES = [(120, 90), (90, 120), (75, 161), (64, 64), (133, 71)]


def stored(tmp_path, mode: str) -> Header:
    images = [photograph(i, *sides) for i, sides in enumerate(SIDES * 3)]
    encoding = Encoding(mode=mode, quality=95)
    beton.write(tmp_path / "x.beton", from_arrays(images, [0] * 15, "x"), encoding, skip_corrupt=False, tick=len_of)
    return Header(tmp_path / "x.beton")


def len_of(size: int) -> None:
    assert size > 0


class Unchanged:
    """A normalizer that leaves pixels unchanged."""

    def __init__(self, threads):
        self.threads = threads

    send = staticmethod(np.copy)

    @staticmethod
    def receive(pixels):
        return pixels


def pipeline(transforms, size: int) -> Pipeline:
    return Pipeline(geometry=geometry(transforms, size), colour_steps=(), fill=(0, 0, 0), seed=5)


PIPELINES = [
    ((RandomResizedCrop(area=(0.05, 1.0)), Flip()), 48),
    ((RandomResizedCrop(area=(0.5, 1.0)),), 10),
    ((Resize(size=60), RandomCrop(), Flip()), 48),
    ((Resize(size=56), CenterCrop()), 48),
    ((Resize(size=48, keep_aspect=False),), 48),
    ((RandomCrop(padding=5, fill=7), Flip()), 48),
    ((CenterCrop(),), 64),
]


@pytest.mark.parametrize(("mode", "worst", "mean"), [("raw", 1, 0.01), ("jpeg", 64, 1.0)])
@pytest.mark.parametrize(("transforms", "size"), PIPELINES)
def test_transforms_equal_torchvisions(tmp_path, mode, worst, mean, transforms, size):
    """TorchEngine uses torchvision's crop and resize for the same boxes; JPEG's chroma is resized differently."""
    header, steps = stored(tmp_path, mode), pipeline(transforms, size)
    tags = np.arange(15) | (3 << 40)
    ours = np.concatenate(list(Engine(header, steps, Unchanged(2), rows=4).read(tags)))
    theirs = np.concatenate(list(TorchEngine(header, steps, Unchanged(1), rows=4).read(tags)))
    error = np.abs(ours.astype(int) - theirs)
    assert error.max() <= worst and error.mean() <= mean


def test_center_crop_equals_torchvisions(tmp_path):
    image = photograph(3, 101, 140)
    expected = F.center_crop(F.resize(torch.from_numpy(image).permute(2, 0, 1), 70, antialias=True), 64)
    beton.write(
        tmp_path / "x.beton", from_arrays([image], [0], "x"), Encoding(mode="raw"), skip_corrupt=False, tick=len_of
    )
    header, steps = Header(tmp_path / "x.beton"), pipeline((Resize(size=70), CenterCrop()), 64)
    engine = Engine(header, steps, Unchanged(1), rows=1)
    ours = next(iter(engine.read(np.zeros(1, np.int64))))[0]
    assert np.abs(ours.astype(int) - expected.permute(1, 2, 0).numpy()).max() <= 1


def many(transforms, size, height, width, count=10_000):
    shapes = np.tile([height, width], (count, 1))
    return boxes(geometry(transforms, size), order.keys(1, 0, np.arange(count)), shapes)


def test_random_resized_crops_follow_the_definition():
    """In a square image a box of any area up to ¾ fits with every aspect ratio, so the area is uniform there."""
    edges, flips = many((RandomResizedCrop(area=(0.05, 1.0)), Flip()), 32, 1000, 1000)
    area, aspect = edges[:, 2] * edges[:, 3] / 1e6, edges[:, 3] / edges[:, 2]
    small = area < 0.75
    assert stats.kstest(area[small], stats.uniform(0.05, 0.70).cdf).pvalue > 1e-3
    logs = np.log(aspect[small])
    assert stats.kstest(logs, stats.uniform(np.log(3 / 4), 2 * np.log(4 / 3)).cdf).pvalue > 1e-3
    place = (edges[:, 0] + 0.5) / (1000 - edges[:, 2] + 1)
    assert stats.kstest(place, stats.uniform().cdf).pvalue > 1e-3
    assert stats.binomtest(int(flips.sum()), len(flips)).pvalue > 1e-3
    assert (edges[:, :2] >= 0).all() and (edges[:, :2] + edges[:, 2:] <= 1000).all()
    assert area.min() < 0.06 and 0.95 < area.max() <= 1.0


def test_random_resized_crops_of_narrow_images_have_torchvisions_distribution():
    """Most tries fail in a 40×300 image, so this compares the fallback and the remaining boxes with torchvision's."""
    from torchvision.transforms import RandomResizedCrop as Theirs

    torch.manual_seed(0)
    image = torch.zeros(3, 40, 300)
    theirs = np.array([Theirs.get_params(image, (0.3, 1.0), (3 / 4, 4 / 3)) for _ in range(3000)])
    ours = many((RandomResizedCrop(area=(0.3, 1.0)),), 32, 40, 300, 3000).edges
    assert set(map(tuple, ours)) == set(map(tuple, theirs.astype(float))) == {(0.0, 123.0, 40.0, 53.0)}
    theirs = np.array([Theirs.get_params(image, (0.05, 0.3), (3 / 4, 4 / 3)) for _ in range(3000)])
    ours = many((RandomResizedCrop(area=(0.05, 0.3)),), 32, 40, 300, 3000).edges
    for column in range(4):
        assert stats.ks_2samp(ours[:, column], theirs[:, column]).pvalue > 1e-3


def test_padded_crops_are_uniform():
    edges, _ = many((RandomCrop(padding=4),), 32, 32, 32)
    counts = np.bincount((edges[:, 0] + 4).astype(int), minlength=9)
    assert len(counts) == 9 and stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize(
    "transforms",
    [
        (RandomCrop(), CenterCrop()),
        (Flip(), RandomCrop()),
        (Resize(size=40), RandomResizedCrop()),
        (Resize(size=40),),
        (Resize(size=20), CenterCrop()),
        (Resize(size=40), RandomCrop(padding=4)),
    ],
)
def test_invalid_geometry_is_rejected(transforms):
    with pytest.raises(UserError):
        geometry(transforms, 32)
