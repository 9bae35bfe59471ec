"""Augmentation and geometry, as recipes name them. Importing this module costs nothing: no torch, no ffcv."""

from dataclasses import dataclass

from raykd.data.config import Transform


@dataclass(frozen=True, kw_only=True)
class RandomCrop(Transform):
    """A square of `image_size` at a random place."""

    padding: int = 0
    """Pixels added on every side before cropping."""
    fill: int = 0
    """Value 0–255 of the added pixels."""


@dataclass(frozen=True, kw_only=True)
class RandomResizedCrop(Transform):
    """A box of random area and aspect ratio, resized to `image_size`; area 0.05–1 is the Inception crop."""

    area: tuple[float, float] = (0.08, 1.0)
    """Least and greatest share of the image's area."""
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    """Least and greatest width over height, drawn log-uniformly."""


@dataclass(frozen=True, kw_only=True)
class Resize(Transform):
    """Resizing of the whole image; a crop may follow."""

    size: int
    """Pixels of the shorter side, or of both."""
    keep_aspect: bool = True
    """False: both sides become `size`, whatever the shape was."""


@dataclass(frozen=True, kw_only=True)
class CenterCrop(Transform):
    """The central square of `image_size`."""


@dataclass(frozen=True, kw_only=True)
class Flip(Transform):
    """Mirror left and right."""

    probability: float = 0.5
    """How often."""


@dataclass(frozen=True, kw_only=True)
class ColorJitter(Transform):
    """Brightness, contrast, saturation, and hue changed by random factors in random order, as torchvision does."""

    brightness: float = 0.0
    """Factors from 1 − this (at least 0) to 1 + this."""
    contrast: float = 0.0
    """Likewise."""
    saturation: float = 0.0
    """Likewise."""
    hue: float = 0.0
    """Shift by up to this share of the colour circle either way, at most 0.5."""


@dataclass(frozen=True, kw_only=True)
class RandAugment(Transform):
    """A few of 14 operations, each at one strength (Cubuk et al. 2020), as torchvision has them."""

    operations: int = 2
    """How many are applied to each image."""
    magnitude: int = 9
    """Their strength, 0 to 30."""


@dataclass(frozen=True, kw_only=True)
class Cutout(Transform):
    """A square at a random place replaced by the data's mean (DeVries and Taylor 2017); it may stick out."""

    side: int
    """Pixels."""
