"""Relational Knowledge Distillation (Park et al., CVPR 2019).

RKD-DA, on pooled vectors: γ CE + distance · smooth L1 of the pairs' Euclidean distances, relative to their mean +
angle · smooth L1 of the cosines of the triplets' angles; weights 25 and 50 as in RepDistiller.
Pairs and triplets are those of the global batch; the angles take memory in B³.
Deviations: a batch of one sample has no pairs and a distance of 0, where RepDistiller's is NaN; two equal samples have
no direction and pass no gradient to it, where RepDistiller divides by 1e-12.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from raykd.contract import Batch, Output, Step, global_rows
from raykd.fields import NonNegative
from raykd.losses import cross_entropy, full_precision, unit_length
from raykd.methods.base.feature_method import FeatureConfig, FeatureMethod


def relative_distances(x: Tensor) -> Tensor:
    """Euclidean distances of all pairs over the mean of those of two different samples: [B, D] → [B, B]."""
    squared = x.square().sum(1)
    gaps = squared[:, None] + squared - 2 * x @ x.T
    itself = torch.eye(len(x), dtype=torch.bool, device=x.device)
    # A square of 0 has a root without a finite gradient.
    distances = torch.where(itself, 0.0, torch.where(itself, 1.0, gaps.clamp_min(1e-12)).sqrt())
    return distances / (distances.sum() / max(1, len(x) * (len(x) - 1))).clamp_min(1e-12)


def angles(x: Tensor) -> Tensor:
    """Cosine of the angle at sample i between samples j and k: [B, D] → [B, B, B]."""
    directions = unit_length(x - x[:, None], dim=2)
    return directions @ directions.mT


def rkd_loss(student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
    """Unweighted terms "distance" and "angle" of vectors [B, D], of any two widths."""
    student, teacher = full_precision(student), full_precision(teacher)
    with torch.autocast(student.device.type, enabled=False):  # which would multiply in half precision
        return {
            "distance": F.smooth_l1_loss(relative_distances(student), relative_distances(teacher)),
            "angle": F.smooth_l1_loss(angles(student), angles(teacher)),
        }


class RKD(FeatureMethod):
    """Matches the distances and angles between the samples of a batch."""

    reads, term = "pooled", "rkd"

    @dataclass(frozen=True, kw_only=True)
    class Config(FeatureConfig):
        kind = "relations"
        compares_images = True

        distance: NonNegative = 25.0
        """Weight of the pairs' distances."""
        angle: NonNegative = 50.0
        """Weight of the triplets' angles."""

    config: Config

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        ((s, t),) = self.pairs(student, teachers)
        terms = rkd_loss(global_rows(s, batch.shares), global_rows(t, batch.shares))
        weighted = {name: getattr(self.config, name) * value for name, value in terms.items()}
        return Step({"ce": self.config.gamma * cross_entropy(student.logits, batch.labels), **weighted}, {})
