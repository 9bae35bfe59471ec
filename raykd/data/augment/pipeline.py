"""A recipe's transforms as both engines run them: one geometry, then a list of colour operations."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from raykd import UserError
from raykd.data.augment.colour import BUILT_IN, colour_steps, program, step_draws
from raykd.data.augment.geometry import GEOMETRY, Geometry, geometry
from raykd.data.config import Data, Transform
from raykd.data.transforms import CenterCrop, Cutout, Operation, Resize


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Checked transforms of one split."""

    geometry: Geometry
    colour_steps: tuple[Transform, ...]
    fill: tuple[int, int, int]
    """The data's mean, which Cutout fills with."""
    seed: int

    @property
    def side(self) -> int:
        """The side of Cutout's square."""
        return next((step.side for step in self.colour_steps if isinstance(step, Cutout)), 0)

    def recolour(
        self, images: np.ndarray, keys: np.ndarray, built_in: Callable[[np.ndarray, np.ndarray], None]
    ) -> None:
        """Change uint8 images [B, S, S, 3] of these keys [B] in place, step by step.

        built_in: executes a `program` on them. Raises UserError if an operation of the user's own fails.
        """
        for own, steps in groupby(enumerate(self.colour_steps, 1), lambda pair: isinstance(pair[1], Operation)):
            (first, step), *more = steps
            if not own:
                built_in(images, program([step, *(other for _, other in more)], keys, images.shape[1], first))
                continue
            for position, operation in ((first, step), *more):
                _apply(operation, images, step_draws(position, keys))


def _apply(operation: Transform, images: np.ndarray, numbers: np.ndarray) -> None:
    assert isinstance(operation, Operation)
    try:
        operation.apply(images, operation.draw(numbers, images.shape[1]))
    except Exception as error:  # the user's code: any error is shown to the user, not lost with a thread
        name = type(operation).__qualname__
        raise UserError(f"data.train: {name} fails: {type(error).__name__}: {error}") from error


def training(data: Data, seed: int) -> Pipeline:
    """The training pipeline; raises UserError if the transforms can't be combined."""
    steps = colour_steps(data.train)
    known = (*GEOMETRY, *BUILT_IN, Operation)
    for step in data.train:
        if not isinstance(step, known):
            raise UserError(
                f"data.train: {type(step).__name__} is not a transform: make it a subclass of "
                "raykd.data.transforms.Operation"
            )
    if sum(isinstance(step, Cutout) for step in steps) > 1:
        raise UserError("data.train has more than one Cutout: keep only one")
    red, green, blue = (int(level) for level in np.rint(np.array(data.statistics[0]) * 255))
    return Pipeline(
        geometry=geometry(data.train, data.image_size), colour_steps=steps, fill=(red, green, blue), seed=seed
    )


def evaluation(data: Data) -> Pipeline:
    """The evaluation pipeline; raises UserError if a transform is random."""
    for transform in data.test:
        if not isinstance(transform, Resize | CenterCrop):
            raise UserError(f"data.test may contain only Resize and CenterCrop, not {type(transform).__name__}")
    return Pipeline(geometry=geometry(data.test, data.image_size), colour_steps=(), fill=(0, 0, 0), seed=0)
