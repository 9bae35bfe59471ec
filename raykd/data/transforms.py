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
