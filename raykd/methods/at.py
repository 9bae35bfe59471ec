"""Paying More Attention to Attention: Improving the Performance of Convolutional Neural Networks via Attention Transfer
(Zagoruyko & Komodakis, ICLR 2017).

AT: γ CE + β · Σ over stages of the mean squared difference of the attention maps. An attention map is the mean over
channels of the activations' p-th powers, normalised to unit length for each sample. As in RepDistiller, differences are
squared and averaged over positions, p = 2 and β = 1000.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from raykd.contract import Batch, Output
from raykd.fields import NonNegative, PositiveInt
from raykd.losses import full_precision, total, unit_length
from raykd.methods.base.feature_method import FeatureConfig, FeatureMethod
from raykd.methods.base.maps import pool_to_smaller


def attention(feature_map: Tensor, power: int = 2) -> Tensor:
    """The mean over channels of the p-th power at each position, of unit length: [B, D, h, w] → [B, h·w]."""
    return unit_length(full_precision(feature_map).pow(power).mean(1).flatten(1))


def at_loss(student: Tensor, teacher: Tensor, power: int = 2) -> Tensor:
    """Mean squared difference of the attention maps of two maps [B, D, h, w]; a larger map is first average-pooled."""
    student, teacher = pool_to_smaller(student, teacher)
    return (attention(student, power) - attention(teacher, power)).square().mean()


class AT(FeatureMethod):
    """Matches, stage by stage, where the teacher's feature maps are active."""

    term = "attention"

    @dataclass(frozen=True, kw_only=True)
    class Config(FeatureConfig):
        kind = "features"

        beta: NonNegative = 1000.0
        """Weight of the attention maps' distance."""
        power: PositiveInt = 2
        """Power p of the activations in the attention maps."""

    config: Config

    def distance(self, student: Output, batch: Batch, teachers: Sequence[Output]) -> Tensor:
        return total(at_loss(s, t, self.config.power) for s, t in self.pairs(student, teachers))
