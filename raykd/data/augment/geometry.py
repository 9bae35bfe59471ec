"""The box of each image that becomes the network's input: fixed, or random by a hash of the sample's key."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from raykd import UserError
from raykd.data import transforms as t
from raykd.data.config import Transform
from raykd.data.order import numbers

CROPS = (t.RandomCrop, t.RandomResizedCrop, t.CenterCrop)
GEOMETRY = (t.Resize, t.Flip, *CROPS)
ATTEMPTS = 10  # of a random-resized crop, as torchvision has it
FLIP_DRAW = 4 * ATTEMPTS  # draws below are the crop's


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """A pipeline's geometry: at most one Resize, one crop and one Flip."""

    size: int
    resize: t.Resize | None
    crop: Transform | None
    flip: float

    @property
    def resamples(self) -> bool:
        return self.resize is not None or isinstance(self.crop, t.RandomResizedCrop)

    @property
    def crops_first(self) -> bool:
        """Whether the image is cropped before resizing, as by RandomResizedCrop."""
        return isinstance(self.crop, t.RandomResizedCrop)

    @property
    def fill(self) -> int:
        return self.crop.fill if isinstance(self.crop, t.RandomCrop) else 0

    @property
    def padding(self) -> int:
        return self.crop.padding if isinstance(self.crop, t.RandomCrop) else 0


class Boxes(NamedTuple):
    """The box to cut from each image."""

    edges: np.ndarray  # [B, 4] float64: top, left, height, width in source pixels; may exceed the image
    flips: np.ndarray  # [B] bool


def geometry(transforms: Sequence[Transform], image_size: int) -> Geometry:
    """The geometry of a pipeline; raises UserError if its steps can't be combined."""
    steps = [step for step in transforms if isinstance(step, GEOMETRY)]
    kinds = [0 if isinstance(step, t.Resize) else 2 if isinstance(step, t.Flip) else 1 for step in steps]
    if kinds != sorted(set(kinds)) or list(transforms[: len(steps)]) != steps:
        listed = ", ".join(type(step).__name__ for step in transforms)
        raise UserError(
            "transforms must be at most one Resize, one crop, one Flip and then colour operations, in this order, not "
            f"{listed}"
        )
    result = Geometry(
        size=image_size,
        resize=next((step for step in steps if isinstance(step, t.Resize)), None),
        crop=next((step for step in steps if isinstance(step, CROPS)), None),
        flip=next((step.probability for step in steps if isinstance(step, t.Flip)), 0.0),
    )
    _check(result)
    return result


def _check(geometry: Geometry) -> None:
    resize, crop, size = geometry.resize, geometry.crop, geometry.size
    if resize and geometry.crops_first:
        raise UserError("RandomResizedCrop already resizes: remove the Resize before it")
    if resize and geometry.padding:
        raise UserError("RandomCrop after Resize can't have padding: remove it, and resize to a larger size")
    if resize and (resize.size < size if crop else resize.size != size):
        raise UserError(f"Resize(size={resize.size}) does not give image_size {size}: change one of them")


def unusable(geometry: Geometry, shapes: np.ndarray) -> np.ndarray:
    """Positions [M] of the images, by (height, width) [N, 2], that the geometry can't convert to its size."""
    if geometry.crops_first or (geometry.resize and geometry.crop):
        return np.empty(0, np.int64)
    if geometry.resize:
        return np.flatnonzero((shapes[:, 0] != shapes[:, 1]) & geometry.resize.keep_aspect)
    if geometry.crop:
        return np.flatnonzero(shapes.min(1) + 2 * geometry.padding < geometry.size)
    return np.flatnonzero((shapes != geometry.size).any(1))


def boxes(geometry: Geometry, keys: np.ndarray, shapes: np.ndarray) -> Boxes:
    """The box and the flip of each image: keys [B] uint64, shapes [B, 2] of (height, width)."""
    flips = numbers(keys, FLIP_DRAW) < geometry.flip
    if isinstance(geometry.crop, t.RandomResizedCrop):
        return Boxes(_resized_crops(geometry.crop, keys, shapes), flips)
    resized = _resized_shapes(geometry.resize, shapes)
    if geometry.crop is None:
        corner, extent = np.zeros_like(resized), resized
    else:
        extent = np.full_like(resized, geometry.size)
        margin = resized - geometry.size + 2 * geometry.padding
        if isinstance(geometry.crop, t.CenterCrop):
            corner = np.rint(margin / 2).astype(np.int64)
        else:
            corner = ((margin + 1) * numbers(keys[:, None], np.arange(2))).astype(np.int64) - geometry.padding
    scale = shapes / resized
    return Boxes(np.concatenate([corner * scale, extent * scale], 1), flips)


def _resized_shapes(resize: t.Resize | None, shapes: np.ndarray) -> np.ndarray:
    """Heights and widths [B, 2] after resizing the whole image; the longer side is rounded down."""
    if resize is None:
        return shapes
    if not resize.keep_aspect:
        return np.full_like(shapes, resize.size)
    return resize.size * shapes // shapes.min(1, keepdims=True)


def _resized_crops(crop: t.RandomResizedCrop, keys: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """Random crops as torchvision draws them: the first of 10 boxes that fits the image, else the largest central one.

    Returns edges [B, 4]; see `Boxes`. Szegedy et al., "Going Deeper with Convolutions", CVPR 2015.
    """
    height, width = shapes[:, 0], shapes[:, 1]
    draws = numbers(keys[:, None], np.arange(FLIP_DRAW)).reshape(-1, ATTEMPTS, 4)
    area = (height * width)[:, None] * (crop.area[0] + (crop.area[1] - crop.area[0]) * draws[..., 0])
    low, high = np.log(crop.aspect)
    aspect = np.exp(low + (high - low) * draws[..., 1])
    w, h = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
    fits = (w > 0) & (w <= width[:, None]) & (h > 0) & (h <= height[:, None])
    row, first = np.arange(len(keys)), fits.argmax(1)
    w, h, draws = w[row, first], h[row, first], draws[row, first]
    top, left = np.floor((height - h + 1) * draws[:, 2]), np.floor((width - w + 1) * draws[:, 3])
    bounded = np.clip(width / height, *crop.aspect)
    whole_w, whole_h = np.minimum(width, np.rint(height * bounded)), np.minimum(height, np.rint(width / bounded))
    central = np.stack([(height - whole_h) // 2, (width - whole_w) // 2, whole_h, whole_w], 1)
    return np.where(fits.any(1)[:, None], np.stack([top, left, h, w], 1), central)
