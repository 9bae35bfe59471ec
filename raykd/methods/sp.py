"""Similarity-Preserving Knowledge Distillation (Tung & Mori, ICCV 2019).

SP: γ CE + β / B² · Σ squared difference of the samples' similarity matrices, which are the Gram matrices of the last
stage's maps, with rows of unit length. As in RepDistiller, β = 3000 (the paper's γ), and only the last map is used.
The matrices are those of the global batch, however many workers share it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from raykd.contract import Batch, Output, global_rows
from raykd.fields import NonNegative
from raykd.losses import full_precision, unit_length
from raykd.methods.base.feature_method import FeatureConfig, FeatureMethod


def similarity(features: Tensor) -> Tensor:
    """Gram matrix of the samples, rows of unit length: [B, ...] → [B, B]."""
    x = full_precision(features).flatten(1)
    with torch.autocast(x.device.type, enabled=False):  # which would multiply in half precision
        return unit_length(x @ x.T)


def sp_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the samples' similarities; maps [B, ...], of any two shapes."""
    return (similarity(student) - similarity(teacher)).square().mean()


class SP(FeatureMethod):
    """Matches the similarities between the samples of a batch, computed from the last maps."""

    reads, term = "last stage", "similarity"

    @dataclass(frozen=True, kw_only=True)
    class Config(FeatureConfig):
        kind = "relations"
        compares_images = True

        beta: NonNegative = 3000.0
        """Weight of the similarity matrices' distance."""

    def distance(self, student: Output, batch: Batch, teachers: Sequence[Output]) -> Tensor:
        ((s, t),) = self.pairs(student, teachers)
        return sp_loss(global_rows(s, batch.shares), global_rows(t, batch.shares))
