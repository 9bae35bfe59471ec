"""Distilling Knowledge via Knowledge Review (Chen et al., CVPR 2021).

ReviewKD: the student's features, coarse to fine, from the pooled vector to the first stage, are fused step by step by
attention (ABF) and compared at each level with the teacher's of that level, before its last activation, by a
hierarchical context loss (HCL): γ CE + weight · Σ over levels, the weight rising linearly over the first epochs.
The fusion modules train, and are not deployed. As in mdistiller, which gives resnet32x4 → resnet8x4 the weight 5 and
ramps over 20 epochs; a level without a map before its activation is compared after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raykd.contract import Batch, Output, Step
from raykd.fields import NonNegative, PositiveInt
from raykd.losses import cross_entropy, full_precision, total, warm_up
from raykd.methods.base.feature_method import FeatureConfig, FeatureMethod
from raykd.methods.base.maps import conv_bn
from raykd.methods.base.peers import scalar_note
from raykd.models.staged import Staged


def hcl_loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Σ over levels of the MSE of maps [B, D, h, w] and of their 4×4, 2×2, 1×1 means, weighted 1, ½, ¼, ⅛ over the sum.

    Means that are not coarser than the map itself are left out, with their weights.
    """
    return torch.stack([_level(s, t) for s, t in zip(student, teacher, strict=True)]).sum()


def _level(student: Tensor, teacher: Tensor) -> Tensor:
    student, teacher = full_precision(student), full_precision(teacher)
    sizes = [size for size in (4, 2, 1) if size < student.shape[2]]
    pooled = [F.mse_loss(F.adaptive_avg_pool2d(student, n), F.adaptive_avg_pool2d(teacher, n)) for n in sizes]
    losses = [F.mse_loss(student, teacher), *pooled]
    weights = [0.5**i for i in range(len(losses))]
    return total(w * loss for w, loss in zip(weights, losses, strict=True)) / sum(weights)


class Fusion(nn.Module):
    """ABF: a level's features, fused with those of the coarser level, in the teacher's width `out` and size."""

    def __init__(self, width: int, mid: int, out: int, fuses: bool):
        super().__init__()
        self.conv1 = nn.Sequential(*conv_bn(width, mid))
        self.conv2 = nn.Sequential(*conv_bn(mid, out, 3))
        self.attention = nn.Sequential(nn.Conv2d(2 * mid, 2, 1), nn.Sigmoid()) if fuses else None

    def forward(self, x: Tensor, coarser: Tensor | None, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Features for the teacher, [B, out, *size], and for the next finer level, [B, mid, *size]."""
        x = self.conv1(x)
        if self.attention is not None and coarser is not None:
            coarser = F.interpolate(coarser, x.shape[2:], mode="nearest")
            gates = self.attention(torch.cat((x, coarser), 1))
            x = x * gates[:, :1] + coarser * gates[:, 1:]
        if tuple(x.shape[2:]) != tuple(size):
            x = F.interpolate(x, tuple(size), mode="nearest")
        return self.conv2(x), x


def review(fusions: Sequence[Fusion], features: Sequence[Tensor], sizes: Sequence[Sequence[int]]) -> list[Tensor]:
    """Fused features of each level, maps [B, D, h, w], fine to coarse as `features` and `sizes` are.

    fusions: coarse to fine.
    """
    results: list[Tensor] = []
    coarser = None
    for fusion, x, size in zip(fusions, reversed(features), reversed(sizes), strict=True):
        result, coarser = fusion(x, coarser, size)
        results.insert(0, result)
    return results


class ReviewKD(FeatureMethod):
    """Matches each level of the teacher's features with the student's features of that level and all coarser ones."""

    term = "review"

    @dataclass(frozen=True, kw_only=True)
    class Config(FeatureConfig):
        kind = "features"

        weight: NonNegative = 1.0
        """Weight of the hierarchical context loss (mdistiller: 5 for resnet32x4 → resnet8x4)."""
        warm_up_epochs: NonNegative = 20.0
        """Epochs over which that weight rises linearly; 0: at once."""
        most_channels: PositiveInt = 512
        """Width of the fused features, at most; else the student's pooled width."""

    config: Config

    def __init__(self, config: Config, student: Staged, teacher: Staged):
        super().__init__(config, student, teacher)
        before = [f"{stage}.pre" if f"{stage}.pre" in teacher.shapes else stage for stage in teacher.stages]
        self.student_features = (*student.stages, "pooled")
        self.teacher_features = ((*before, "pooled"),)
        mid = min(config.most_channels, student.width("pooled"))
        levels = list(zip(self.student_features, self.teacher_features[0], strict=True))
        fusions = (
            Fusion(student.width(s), mid, teacher.width(t), fuses=i > 0) for i, (s, t) in enumerate(reversed(levels))
        )
        self.fusions = cast(Sequence[Fusion], nn.ModuleList(fusions))

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        c = self.config
        levels = [(as_map(s), as_map(t)) for s, t in self.pairs(student, teachers)]
        features, targets = zip(*levels, strict=True)
        fused = review(self.fusions, features, [target.shape[2:] for target in targets])
        weight = c.weight * warm_up(epoch, c.warm_up_epochs)
        terms = {
            "ce": c.gamma * cross_entropy(student.logits, batch.labels),
            "review": weight * hcl_loss(fused, targets),
        }
        return Step(terms, {"review_weight": scalar_note(weight, student.logits)})


def as_map(x: Tensor) -> Tensor:
    """[B, D] → [B, D, 1, 1]; a map as it is."""
    return x[:, :, None, None] if x.ndim == 2 else x
