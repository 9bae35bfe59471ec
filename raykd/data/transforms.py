"""Transforms that recipes name. Importing this module costs nothing: no torch, no ffcv."""

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
    """A random square of `image_size` pixels."""

    padding: Pixels = 0
    """Pixels added on every side before cropping."""
    fill: Annotated[int, Interval(ge=0, le=255)] = 0
    """Value 0–255 of the added pixels."""


@dataclass(frozen=True, kw_only=True)
class RandomResizedCrop(Transform):
    """A box of random area and aspect ratio, resized to `image_size`; area 0.05–1 is the Inception crop."""

    area: Annotated[tuple[Area, Area], ascending] = (0.08, 1.0)
    """Minimum and maximum share of the image's area."""
    aspect: Annotated[tuple[Aspect, Aspect], ascending] = (3 / 4, 4 / 3)
    """Minimum and maximum of width / height, drawn log-uniformly."""


@dataclass(frozen=True, kw_only=True)
class Resize(Transform):
    """Resizing of the whole image; a crop may follow."""

    size: Side
    """Length of the shorter side in pixels, or of both sides."""
    keep_aspect: bool = True
    """False: resize both sides to `size`."""


@dataclass(frozen=True, kw_only=True)
class CenterCrop(Transform):
    """The central square of `image_size`."""


@dataclass(frozen=True, kw_only=True)
class Flip(Transform):
    """Mirror left and right."""

    probability: Probability = 0.5
    """Probability of a flip."""


@dataclass(frozen=True, kw_only=True)
class ColorJitter(Transform):
    """Brightness, contrast, saturation, and hue changed by random factors in random order, as torchvision does."""

    brightness: Strength = 0.0
    """The factor is drawn from 1 − this (at least 0) to 1 + this."""
    contrast: Strength = 0.0
    """The factor is drawn from 1 − this (at least 0) to 1 + this."""
    saturation: Strength = 0.0
    """The factor is drawn from 1 − this (at least 0) to 1 + this."""
    hue: Annotated[float, Interval(ge=0, le=0.5)] = 0.0
    """Shift by up to this share of the colour circle either way, at most 0.5."""


@dataclass(frozen=True, kw_only=True)
class RandAugment(Transform):
    """A few of 14 operations, each at one strength (Cubuk et al. 2020), as torchvision has them."""

    operations: Annotated[int, Interval(ge=1, le=16)] = 2
    """Number of operations applied to each image."""
    magnitude: Annotated[int, Interval(ge=0, le=30)] = 9
    """Strength of the operations, 0 to 30."""


@dataclass(frozen=True, kw_only=True)
class Cutout(Transform):
    """A square at a random place replaced by the data's mean (DeVries and Taylor 2017); it may stick out."""

    side: Side
    """Side of the square in pixels."""


@dataclass(frozen=True, kw_only=True)
class Operation(Transform):
    """Base class of your own augmentation, a subclass in a file beside the recipe; it is applied after the geometry.

    It gets batches from FFCV and from PyTorch's DataLoader alike. All randomness must come from the numbers that `draw`
    gets, so that it is the same for any number of workers and after a resume.
    """

    def draw(self, numbers: "np.ndarray", size: int) -> "np.ndarray":
        """Parameters for each image, [B, ...], from 64 uniform random numbers in [0, 1) of each, [B, 64].

        size: side of the images in pixels.
        """
        raise NotImplementedError

    def apply(self, images: "np.ndarray", drawn: "np.ndarray") -> None:
        """Change the images, uint8 [B, S, S, 3] RGB, in place.

        Called in the decoding thread; numpy, or numba with nogil, does not block the training thread.
        """
        raise NotImplementedError
