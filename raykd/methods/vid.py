"""Variational Information Distillation for Knowledge Transfer (Ahn et al., CVPR 2019).

VID: γ CE + β · Σ over stages of the mean of ½ ((μ − t)² / v + log v): the teacher's map t under a Gaussian whose mean
is a regression of the student's map and whose variance v = softplus(scale) + 1e-5 is learnt for each channel.
The regressors (three 1×1 convolutions) and the scales train; v begins at 5 and β = 1, as in RepDistiller.
mdistiller's version never trains its scales.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raykd.contract import Batch, Output
from raykd.fields import NonNegative
from raykd.losses import full_precision, total
from raykd.methods.base.feature_method import FeatureConfig, FeatureMethod
from raykd.methods.base.maps import pool_to_smaller
from raykd.models.staged import Staged

LEAST_VARIANCE, FIRST_VARIANCE = 1e-5, 5.0


def vid_loss(predicted: Tensor, teacher: Tensor, scale: Tensor) -> Tensor:
    """Mean of ½ ((μ − t)² / v + log v); maps [B, D, h, w], scale [D]."""
    variance = (F.softplus(full_precision(scale)) + LEAST_VARIANCE)[:, None, None]
    gap = full_precision(predicted) - full_precision(teacher)
    return 0.5 * (gap.square() / variance + variance.log()).mean()


class Regressor(nn.Module):
    """Three 1×1 convolutions with ReLUs between them, and the scale of each channel."""

    def __init__(self, width: int, out: int):
        super().__init__()
        convolutions = [nn.Conv2d(inside, out, 1, bias=False) for inside in (width, out, out)]
        self.mean = nn.Sequential(convolutions[0], nn.ReLU(), convolutions[1], nn.ReLU(), convolutions[2])
        self.scale = nn.Parameter(torch.full((out,), math.log(math.expm1(FIRST_VARIANCE - LEAST_VARIANCE))))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        student, teacher = pool_to_smaller(student, teacher)
        return vid_loss(self.mean(student), teacher, self.scale)


class VID(FeatureMethod):
    """Maximises the likelihood of the teacher's maps given the student's, stage by stage."""

    term = "information"

    @dataclass(frozen=True, kw_only=True)
    class Config(FeatureConfig):
        kind = "features"

        beta: NonNegative = 1.0
        """Weight of the teacher's maps' negative log-likelihood."""

    def __init__(self, config: Config, student: Staged, teacher: Staged):
        super().__init__(config, student, teacher)
        pairs = zip(self.student_features, self.teacher_features[0], strict=True)
        self.regressors = nn.ModuleList(Regressor(student.width(s), teacher.width(t)) for s, t in pairs)

    def distance(self, student: Output, batch: Batch, teachers: Sequence[Output]) -> Tensor:
        pairs = self.pairs(student, teachers)
        return total(regressor(s, t) for regressor, (s, t) in zip(self.regressors, pairs, strict=True))
