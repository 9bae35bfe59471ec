"""Paraphrasing Complex Network: Network Compression via Factor Transfer (Kim et al., NeurIPS 2018).

FT: a paraphraser, an autoencoder of the teacher's last map, is trained in the recipe's `initialise` phase by the mean
square error of its reconstruction and frozen; then γ CE + β · the mean p-th power of the differences between
the teacher's factors, which the paraphraser makes, and the student's, which a translator makes that trains with it.
As in RepDistiller, factors are compared by their channels' mean square, of unit length, with p = 1 and
β = 200, rate k = 0.5, 30 epochs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raykd.contract import Batch, Output, Step
from raykd.fields import Interval, NonNegative, PositiveInt
from raykd.losses import full_precision
from raykd.methods.at import attention
from raykd.methods.base.feature_method import FeatureConfig, FeatureMethod
from raykd.methods.base.maps import pool_to_smaller
from raykd.models.staged import Staged


def ft_loss(student: Tensor, teacher: Tensor, power: int = 1) -> Tensor:
    """Mean p-th power of the factors' differences; factors [B, D, h, w], a larger one is first average-pooled."""
    student, teacher = pool_to_smaller(student, teacher)
    return (attention(student) - attention(teacher)).abs().pow(power).mean()


def layers(widths: Sequence[int], layer: type[nn.Module], norm: bool) -> nn.Sequential:
    """3×3 layers between the widths, each followed by a leaky ReLU, with `norm` after a BatchNorm."""
    parts: list[nn.Module] = []
    for inside, outside in zip(widths[:-1], widths[1:], strict=True):
        parts += [layer(inside, outside, 3, padding=1), *([nn.BatchNorm2d(outside)] if norm else []), nn.LeakyReLU(0.1)]
    return nn.Sequential(*parts)


class FT(FeatureMethod):
    """Matches a compressed form of the teacher's last map, learned by an autoencoder before the training."""

    reads, term = "last stage", "factor"

    @dataclass(frozen=True, kw_only=True)
    class Config(FeatureConfig):
        kind = "features"
        initialises = True

        beta: NonNegative = 200.0
        """Weight of the factors' distance."""
        rate: Annotated[float, Interval(gt=0, le=1)] = 0.5
        """Channels of a factor, as a share of the teacher's."""
        power: PositiveInt = 1
        """Power of the factors' differences."""

    config: Config

    def __init__(self, config: Config, student: Staged, teacher: Staged):
        super().__init__(config, student, teacher)
        narrow, wide = student.width(student.last_stage), teacher.width(teacher.last_stage)
        factor = max(1, int(config.rate * wide))
        self.translator = layers((narrow, narrow, factor, factor), nn.Conv2d, norm=True)
        self.paraphraser = layers((wide, wide, factor, factor), nn.Conv2d, norm=False)
        self.reconstructor = layers((factor, factor, wide, wide), nn.ConvTranspose2d, norm=False)

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        if not self.initialising:
            return super().step(student, batch, teachers, epoch)
        ((_, map_),) = self.pairs(student, teachers)
        rebuilt = self.reconstructor(self.paraphraser(map_))
        return Step({"reconstruction": F.mse_loss(full_precision(rebuilt), map_)}, {})

    def distance(self, student: Output, batch: Batch, teachers: Sequence[Output]) -> Tensor:
        ((s, t),) = self.pairs(student, teachers)
        with torch.no_grad():  # the paraphraser no longer trains
            factor = self.paraphraser(t)
        return ft_loss(self.translator(s), factor, self.config.power)
