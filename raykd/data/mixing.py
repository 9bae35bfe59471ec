"""Mixup and CutMix: their settings in recipes, and the mixing on the device. This module does not import torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from raykd import UserError
from raykd.data.config import Mixing
from raykd.data.order import uniform
from raykd.fields import Interval

if TYPE_CHECKING:
    from torch import Tensor

LAMBDA, BOX = 0x4C414D, 0x424F58  # keys of the random numbers
Concentration = Annotated[float, Interval(ge=0.001, le=1000)]


@dataclass(frozen=True, kw_only=True)
class Mixup(Mixing):
    """λ · image + (1 − λ) · the previous image of the global batch, labels likewise; one λ per global step.

    "mixup: Beyond Empirical Risk Minimization" (Zhang et al., ICLR 2018).
    """

    variant: Literal["official", "uniform"] = "official"
    """official: λ from Beta(alpha, alpha), then max(λ, 1 − λ) (big_vision); uniform: λ from U(0, 1)."""
    alpha: Concentration = 1.0
    """Parameter of the Beta distribution; not used by the uniform variant."""


@dataclass(frozen=True, kw_only=True)
class CutMix(Mixing):
    """Paste a box of the previous image of the global batch, labels mixed by its area; one box per global step.

    "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features" (Yun et al., ICCV 2019).
    """

    alpha: Concentration = 1.0
    """Parameter of the Beta distribution of the share of the image that is kept."""


def beta(alpha: float, *parts: int) -> float:
    """A draw from Beta(alpha, alpha), the same on every worker: the quantile at a number hashed from the parts."""
    from scipy.special import betaincinv

    return float(betaincinv(alpha, alpha, uniform(*parts)[0]))


def share(mixing: Mixup | CutMix, seed: int, step: int) -> float:
    """λ of a global step, the share of each sample's own image, from 0 to 1."""
    if isinstance(mixing, Mixup) and mixing.variant == "uniform":
        return float(uniform(LAMBDA, seed, step)[0])
    drawn = beta(mixing.alpha, LAMBDA, seed, step)
    return max(drawn, 1.0 - drawn) if isinstance(mixing, Mixup) else drawn


def cut(lam: float, size: int, seed: int, step: int) -> tuple[int, int, int, int]:
    """Top, bottom, left, right of CutMix's box in pixels: area 1 − λ around a random centre, clipped to the image."""
    half = size * (1.0 - lam) ** 0.5 / 2
    y, x = (float(uniform(BOX, seed, step, axis)[0]) * size for axis in (0, 1))
    edges = (y - half, y + half, x - half, x + half)
    return tuple(min(max(round(edge), 0), size) for edge in edges)


def mix(mixing: Mixing, images: "Tensor", labels: "Tensor", seed: int, step: int) -> "tuple[Tensor, Tensor]":
    """Mix each row but the first with the one before: images [B + 1, 3, S, S], one-hot labels [B + 1, C] → [B, …] each.

    Raises UserError for a mixing other than Mixup and CutMix.
    """
    if not isinstance(mixing, Mixup | CutMix):
        raise UserError(f"data.mixing: {type(mixing).__name__} must be one of Mixing, Mixup, CutMix")
    lam = share(mixing, seed, step)
    own, partner = images[1:], images[:-1]
    if isinstance(mixing, Mixup):
        mixed = own * lam + partner * (1.0 - lam)
    else:
        size = images.shape[-1]
        top, bottom, left, right = cut(lam, size, seed, step)
        mixed = own.clone()
        mixed[:, :, top:bottom, left:right] = partner[:, :, top:bottom, left:right]
        lam = 1.0 - (bottom - top) * (right - left) / size**2
    return mixed, labels[1:] * lam + labels[:-1] * (1.0 - lam)
