"""A recipe's transforms as what both engines run: one geometry, then a list of colour operations."""

from dataclasses import dataclass

import numpy as np

from raykd import UserError
from raykd.data.augment.colour import colours
from raykd.data.augment.geometry import Geometry, geometry
from raykd.data.config import Data, Transform
from raykd.data.transforms import CenterCrop, Cutout, Resize


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Checked transforms of one split."""

    geometry: Geometry
    colours: tuple[Transform, ...]
    fill: tuple[int, int, int]
    """The data's mean, which Cutout fills with."""
    seed: int

    @property
    def side(self) -> int:
        """Of Cutout's square."""
        return next((step.side for step in self.colours if isinstance(step, Cutout)), 0)


def training(data: Data, seed: int) -> Pipeline:
    """The training pipeline; raises UserError where the transforms make no sense together."""
    steps = colours(data.train)
    if sum(isinstance(step, Cutout) for step in steps) > 1:
        raise UserError("data.train has more than one Cutout")
    red, green, blue = (int(level) for level in np.rint(np.array(data.statistics[0]) * 255))
    return Pipeline(geometry=geometry(data.train, data.image_size), colours=steps, fill=(red, green, blue), seed=seed)


def evaluation(data: Data) -> Pipeline:
    """The evaluation pipeline; raises UserError where something in it is random."""
    for transform in data.test:
        if not isinstance(transform, Resize | CenterCrop):
            raise UserError(f"data.test takes Resize and CenterCrop only, not {type(transform).__name__}")
    return Pipeline(geometry=geometry(data.test, data.image_size), colours=(), fill=(0, 0, 0), seed=0)
