"""Exploring Inter-Channel Correlation for Diversity-preserved Knowledge Distillation (Liu et al., ICCV 2021).

ICKD-C: γ CE + β · the squared distance of the channels' Gram matrices of the last maps, rows normalised, as a mean over
samples and a sum over channels, divided by their number. A 1×1 convolution and BN bring the student's map to the
teacher's width. The published CIFAR-100 setting is β 2.5, alone or with KD at T 4 beside it (add `kd` by a sum).
The authors' code also registers an embedding for the teacher that it never uses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raykd.contract import Batch, Output, Step, expect_teachers
from raykd.fields import NonNegative
from raykd.losses import cross_entropy, full_precision
from raykd.method import MethodConfig
from raykd.methods.base.student import SingleStudent
from raykd.models.staged import Staged


def channel_correlation(feature_map: Tensor) -> Tensor:
    """Gram matrix of the channels of each sample, its rows of length 1: [B, D, h, w] → [B, D, D]."""
    x = full_precision(feature_map).flatten(2)
    with torch.autocast(x.device.type, enabled=False):  # which would multiply in half precision
        return F.normalize(x @ x.mT, dim=2)


def ickd_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Σ of the squared differences of the correlations, over D and the batch; maps [B, D, h, w] of one width D."""
    difference = channel_correlation(student) - channel_correlation(teacher)
    return difference.square().sum() / (len(student) * student.shape[1])


def embedding(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out))


class ICKD(SingleStudent):
    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        kind = "features"
        compares_classes = False
        label_weight = "gamma"

        gamma: NonNegative = 1.0
        """Weight of the cross-entropy with the labels."""
        beta: NonNegative = 2.5
        """Weight of the distance of the channels' correlations."""

        def build(self, new_student: Callable[[], Staged], teachers: Sequence[Staged]) -> "ICKD":
            expect_teachers("ickd", teachers, 1, 1)
            return ICKD(self, new_student(), teachers)

    config: Config

    def __init__(self, config: Config, student: Staged, teachers: Sequence[Staged]):
        super().__init__(config, student, teachers)
        self.student_features = (student.last_stage,)
        self.teacher_features = ((teachers[0].last_stage,),)
        self.embedding = embedding(student.width(student.last_stage), teachers[0].width(teachers[0].last_stage))

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        (own,), ((name,),) = self.student_features, self.teacher_features
        distance = ickd_loss(self.embedding(student.features[own]), teachers[0].features[name])
        ce = self.config.gamma * cross_entropy(student.logits, batch.labels)
        return Step({"ce": ce, "correlation": self.config.beta * distance}, {})
