"""The learning rate over time."""

import math
from dataclasses import dataclass
from typing import Annotated

from raykd.fields import (
    Interval,
    NonNegative,
    NonNegativeInt,
    Probability,
    ascending,
)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The learning rate over time; this base class keeps it constant after the warm-up. Your own is a subclass with
    `share_of_peak` in a file next to the recipe."""

    warmup_steps: NonNegativeInt = 0
    """Steps (updates) of linear warm-up from 0."""

    def share_of_peak(self, step: int, epoch: float, total: int) -> float:
        """The learning rate as a fraction of its peak, at update `step` (from 0) of `total`, after the warm-up.

        epoch: passes over the training split so far, fractional.
        """
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Half a cosine from the peak to `final`, changing at every step (Loshchilov & Hutter, ICLR 2017)."""

    final: Probability = 0.0
    """Last learning rate as a fraction of the peak, from 0 to 1."""

    def share_of_peak(self, step: int, epoch: float, total: int) -> float:
        passed = (step - self.warmup_steps) / max(1, total - self.warmup_steps)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * min(1.0, passed)))


@dataclass(frozen=True, kw_only=True)
class Steps(Schedule):
    """The learning rate is multiplied by `factor` at each milestone."""

    milestones: Annotated[tuple[NonNegative, ...], ascending] = ()
    """Epochs at which the learning rate drops."""
    factor: Annotated[float, Interval(gt=0, le=1)] = 0.1
    """Factor of each drop."""

    def share_of_peak(self, step: int, epoch: float, total: int) -> float:
        return float(self.factor ** sum(epoch >= milestone for milestone in self.milestones))


@dataclass(frozen=True, kw_only=True)
class Piecewise(Schedule):
    """The learning rate is a given fraction of the peak from each milestone on."""

    shares: Annotated[tuple[tuple[NonNegative, Probability], ...], ascending] = ()
    """Pairs of an epoch and the fraction of the peak from then on; before the first epoch: 1."""

    def share_of_peak(self, step: int, epoch: float, total: int) -> float:
        return ([1.0] + [share for start, share in self.shares if epoch >= start])[-1]
