"""The augmentations and geometry steps of recipes. This module imports neither torch nor FFCV."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from raykd.data.config import Transform
from raykd.fields import Interval, Pixels, Probability, ascending

if TYPE_CHECKING:
    import numpy as np

Side = Annotated[int, Interval(ge=1, lt=2**16)]
Area = Annotated[float, Interval(gt=0, le=1)]
Aspect = Annotated[float, Interval(ge=0.01, le=100)]
Strength = Annotated[float, Interval(ge=0, le=100)]


@dataclass(frozen=True, kw_only=True)
class RandomCrop(Transform):
    """Crop a random square with sides of `image_size` pixels."""

    padding: Pixels = 0
    """Pixels added on every side before cropping."""
    fill: Annotated[int, Interval(ge=0, le=255)] = 0
    """Value of the added pixels, from 0 to 255."""


@dataclass(frozen=True, kw_only=True)
class RandomResizedCrop(Transform):
    """Crop a box of random area and aspect ratio and resize it to `image_size` (Szegedy et al. 2015).

    area (0.05, 1.0) is FunMatch's Inception crop.
    """

    area: Annotated[tuple[Area, Area], ascending] = (0.08, 1.0)
    """Minimum and maximum share of the image's area, from 0 to 1."""
    aspect: Annotated[tuple[Aspect, Aspect], ascending] = (3 / 4, 4 / 3)
    """Minimum and maximum of width / height, drawn log-uniformly."""


@dataclass(frozen=True, kw_only=True)
class Resize(Transform):
    """Resize the whole image (bilinear, antialiased); a crop may follow."""

    size: Side
    """Length of the shorter side in pixels, or of both sides."""
    keep_aspect: bool = True
    """True: the shorter side becomes `size`; False: both sides."""


@dataclass(frozen=True, kw_only=True)
class CenterCrop(Transform):
    """Crop the central square with sides of `image_size` pixels."""


@dataclass(frozen=True, kw_only=True)
class Flip(Transform):
    """Flip images horizontally."""

    probability: Probability = 0.5
    """Probability of a flip, from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class ColorJitter(Transform):
    """Change brightness, contrast, saturation and hue by random factors in random order, as torchvision does."""

    brightness: Strength = 0.0
    """The factor is drawn from 1 − this (at least 0) to 1 + this."""
    contrast: Strength = 0.0
    """The factor is drawn from 1 − this (at least 0) to 1 + this."""
    saturation: Strength = 0.0
    """The factor is drawn from 1 − this (at least 0) to 1 + this."""
    hue: Annotated[float, Interval(ge=0, le=0.5)] = 0.0
    """The hue is shifted by up to this share of the colour circle in either direction, at most 0.5."""


@dataclass(frozen=True, kw_only=True)
class RandAugment(Transform):
    """Apply random ones of 14 operations at a fixed strength (RandAugment, Cubuk et al. 2020), as torchvision does."""

    operations: Annotated[int, Interval(ge=1, le=16)] = 2
    """Number of operations applied to each image."""
    magnitude: Annotated[int, Interval(ge=0, le=30)] = 9
    """Strength of the operations, 0 to 30."""


@dataclass(frozen=True, kw_only=True)
class Cutout(Transform):
    """Fill a random square with the data's mean (DeVries and Taylor 2017); it may extend beyond the image."""

    side: Side
    """Side of the square in pixels."""


@dataclass(frozen=True, kw_only=True)
class Operation(Transform):
    """Base class of your own augmentation, a subclass in a file next to the recipe. It is applied after the geometry.

    It works on batches of FFCV as well as of PyTorch's DataLoader. All randomness must come from the numbers passed to
    `draw`, so that it is the same for any number of workers and after a resume.
    """

    def draw(self, numbers: "np.ndarray", size: int) -> "np.ndarray":
        """Parameters of each image, [B, ...], from its 64 uniform random numbers in [0, 1), [B, 64].

        size: side of the images in pixels.
        """
        raise NotImplementedError

    def apply(self, images: "np.ndarray", drawn: "np.ndarray") -> None:
        """Change the images, uint8 [B, S, S, 3] RGB, in place. drawn: the result of `draw`, [B, ...].

        Called in the decoding thread; numpy, and numba with nogil, don't block the training thread. If it raises, the
        run ends with the error.
        """
        raise NotImplementedError
