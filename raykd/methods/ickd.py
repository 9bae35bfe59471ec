"""Exploring Inter-Channel Correlation for Diversity-preserved Knowledge Distillation (Liu et al., ICCV 2021).

ICKD-C: γ CE + β · the squared distance of the channels' Gram matrices of the last maps, rows normalised, as a mean over
samples and a sum over channels, divided by their number. A 1×1 convolution and BN bring the student's map to the
teacher's width. The published CIFAR-100 setting is β 2.5, without KD or with KD at T 4 (add `kd` by a `sum`).
The authors' code also registers an embedding for the teacher that it never uses.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raykd.contract import Batch, Output
from raykd.fields import NonNegative
from raykd.losses import full_precision
from raykd.methods.base.feature_method import FeatureConfig, FeatureMethod
from raykd.methods.base.maps import conv_bn
from raykd.models.staged import Staged


def channel_correlation(feature_map: Tensor) -> Tensor:
    """Gram matrix of the channels of each sample, its rows of length 1: [B, D, h, w] → [B, D, D]."""
    x = full_precision(feature_map).flatten(2)
    with torch.autocast(x.device.type, enabled=False):  # which would multiply in half precision
        return F.normalize(x @ x.mT, dim=2)


def ickd_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Sum of the squared differences of the correlations, divided by B · D; maps [B, D, h, w] of equal width."""
    difference = channel_correlation(student) - channel_correlation(teacher)
    return difference.square().sum() / (len(student) * student.shape[1])


class ICKD(FeatureMethod):
    """Matches the correlations between the channels of the last maps."""

    reads, term = "last stage", "correlation"

    @dataclass(frozen=True, kw_only=True)
    class Config(FeatureConfig):
        kind = "features"

        beta: NonNegative = 2.5
        """Weight of the distance of the channels' correlations."""

    config: Config

    def __init__(self, config: Config, student: Staged, teacher: Staged):
        super().__init__(config, student, teacher)
        widths = student.width(student.last_stage), teacher.width(teacher.last_stage)
        self.embedding = nn.Sequential(*conv_bn(*widths))

    def distance(self, student: Output, batch: Batch, teachers: Sequence[Output]) -> Tensor:
        ((s, t),) = self.pairs(student, teachers)
        return ickd_loss(self.embedding(s), t)
