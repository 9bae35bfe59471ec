"""From a recipe's transforms to the numbers that the kernel reads."""

from collections.abc import Sequence

import numpy as np

from raykd import UserError
from raykd.data import transforms as t
from raykd.data.config import Transform

# Slots of a plan; kernels.py reads them.
WHOLE, RANDOM, CENTER, RESIZED = 0.0, 1.0, 2.0, 3.0
CROP, RESIZE, KEEP_ASPECT, PADDING, FILL, AREA_LOW, AREA_HIGH, ASPECT_LOW, ASPECT_HIGH, FLIP = range(10)
LENGTH = 10

GEOMETRY = (t.Resize, t.RandomCrop, t.RandomResizedCrop, t.CenterCrop)


def geometry(transforms: Sequence[Transform], image_size: int) -> np.ndarray:
    """The plan [LENGTH] of a pipeline's geometry; raises UserError where the order of transforms makes no sense."""
    plan = np.zeros(LENGTH)
    for transform in transforms:
        if isinstance(transform, GEOMETRY) and plan[CROP] != WHOLE:
            raise UserError(f"{type(transform).__name__} can't follow another crop: one crop, after at most one Resize")
        if isinstance(transform, t.Resize | t.RandomResizedCrop) and plan[RESIZE]:
            raise UserError(f"{type(transform).__name__} can't follow Resize: leave the Resize out")
        _enter(plan, transform)
    if plan[RESIZE] and plan[CROP] == WHOLE and plan[RESIZE] != image_size:
        raise UserError(f"Resize(size={plan[RESIZE]:.0f}) without a crop doesn't give image_size {image_size}")
    if plan[RESIZE] and plan[CROP] != WHOLE and plan[RESIZE] + 2 * plan[PADDING] < image_size:
        raise UserError(f"Resize(size={plan[RESIZE]:.0f}) is too small for a crop of image_size {image_size}")
    return plan


def _enter(plan: np.ndarray, transform: Transform) -> None:
    match transform:
        case t.Resize(size=size, keep_aspect=keep):
            plan[RESIZE], plan[KEEP_ASPECT] = size, keep
        case t.CenterCrop():
            plan[CROP] = CENTER
        case t.RandomCrop(padding=padding, fill=fill):
            if padding and plan[RESIZE]:
                raise UserError("RandomCrop after Resize takes no padding: resize to a larger size")
            plan[CROP], plan[PADDING], plan[FILL] = RANDOM, padding, fill
        case t.RandomResizedCrop(area=area, aspect=aspect):
            if not (0 < area[0] <= area[1] <= 1 and 0 < aspect[0] <= aspect[1]):
                raise UserError(
                    f"RandomResizedCrop takes 0 < area ≤ 1 and aspect > 0, low before high, not {transform}"
                )
            plan[CROP], plan[AREA_LOW], plan[AREA_HIGH] = RESIZED, *area
            plan[ASPECT_LOW], plan[ASPECT_HIGH] = aspect
        case t.Flip(probability=probability):
            plan[FLIP] = probability


def check_fixed(transforms: Sequence[Transform]) -> None:
    """Raise UserError where an evaluation pipeline has something random in it."""
    for transform in transforms:
        if not isinstance(transform, t.Resize | t.CenterCrop):
            raise UserError(f"data.test takes Resize and CenterCrop only, not {type(transform).__name__}")
