"""Like What You Like: Knowledge Distill via Neuron Selectivity Transfer (Huang & Wang, arXiv:1707.01219, 2017).

NST: γ CE + β · Σ over stages of the squared maximum mean discrepancy between the channels' activation patterns of the
two networks, each of unit length, under the polynomial kernel (xᵀy)²; β = 50 as in RepDistiller.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from raykd.contract import Batch, Output
from raykd.fields import NonNegative
from raykd.losses import full_precision, total, unit_length
from raykd.methods.base.feature_method import FeatureConfig, FeatureMethod
from raykd.methods.base.maps import pool_to_smaller


def nst_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared discrepancy of the channels of maps [B, D, h, w], a mean over samples; a larger map is average-pooled.

    The teacher's own part is a constant.
    """
    s, t = (unit_length(full_precision(x).flatten(2), dim=2) for x in pool_to_smaller(student, teacher))
    with torch.autocast(s.device.type, enabled=False):  # which would multiply in half precision
        return _kernel(t, t).detach() + _kernel(s, s) - 2 * _kernel(s, t)


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    """Mean over samples and pairs of channels of (aᵀb)²; [B, D, n] each."""
    return (a @ b.mT).square().mean()


class NST(FeatureMethod):
    """Matches the distribution of the channels' activation patterns, stage by stage."""

    term = "selectivity"

    @dataclass(frozen=True, kw_only=True)
    class Config(FeatureConfig):
        kind = "features"

        beta: NonNegative = 50.0
        """Weight of the discrepancy."""

    def distance(self, student: Output, batch: Batch, teachers: Sequence[Output]) -> Tensor:
        return total(nst_loss(s, t) for s, t in self.pairs(student, teachers))
