"""FitNets: Hints for Thin Deep Nets (Romero et al., ICLR 2015) with several teachers, as CA-MKD compares it.

AVER-MKD plus β · mean over teachers of the mean squared error between a regression of the student's map and the
teacher's, at one stage. Like CA-MKD's code, without the hints in the first epoch.
Deviation: that code detaches the mean of the hints, so that they train nothing; here they do. Any ratio of map sizes
is supported; that code supports 2, 1/2, 1/4 and student maps that are larger.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raykd.fields import NonNegative, Probability
from raykd.losses import map_distance
from raykd.methods.aekd import expect_tolerance, feature_weights
from raykd.methods.base.multi_teacher import (
    Features,
    FeatureTerm,
    MultiTeacher,
    MultiTeacherConfig,
    Weighting,
    named_feature,
)
from raykd.models.staged import Staged


class Regressor(nn.Module):
    """One convolution, BN and ReLU from a student's map to a teacher's shape (D, h, w).

    A student's map of less than half or more than twice the size is resized first, as the kernel would be as large as
    the map.
    """

    def __init__(self, student: tuple[int, ...], teacher: tuple[int, ...]):
        super().__init__()
        (narrow, height, width), (wide, *self.size) = student, teacher
        self.resizes = not self.size[0] / 2 <= height <= 2 * self.size[0]
        if height == 2 * self.size[0]:
            self.conv: nn.Module = nn.Conv2d(narrow, wide, 3, stride=2, padding=1)
        elif 2 * height == self.size[0]:
            self.conv = nn.ConvTranspose2d(narrow, wide, 4, stride=2, padding=1)
        elif height >= self.size[0] and not self.resizes:
            self.conv = nn.Conv2d(narrow, wide, (1 + height - self.size[0], 1 + width - self.size[1]))
        else:
            self.resizes = True
            self.conv = nn.Conv2d(narrow, wide, 3, padding=1)
        self.norm = nn.BatchNorm2d(wide)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.before_activation(x))

    def before_activation(self, x: Tensor) -> Tensor:
        """Maps [B, D, h, w], resized to the teacher's [h', w'], convolved and normalised: [B, D', h', w']."""
        if self.resizes:
            smaller = x.shape[2] > self.size[0]
            x = F.interpolate(x, size=self.size, mode="bilinear", align_corners=False, antialias=smaller)
        normed: Tensor = self.norm(self.conv(x))
        return normed


@dataclass(frozen=True, kw_only=True)
class Hints(Features):
    """The mean squared errors of regressed maps, averaged over the teachers."""

    weight: NonNegative = 100.0
    """Weight of the term."""
    stage: str = "stage2"
    """Stage to compare, of student and teachers: "stem", "stage1" …, "last"; "stage2.pre": before its activation."""
    first_epoch: NonNegative = 1.0
    """First epoch with this term."""

    def build(self, student: Staged, teachers: Sequence[Staged]) -> FeatureTerm:
        return HintTerm(self, student, teachers)

    def combine(self, errors: Sequence[Tensor], maps: Sequence[Tensor], student: Tensor) -> tuple[Tensor, Tensor]:
        """The term and each teacher's weight [K]; errors: K times [B], each sample's mean squared error."""
        return hint_loss(errors), errors[0].new_full((len(errors),), 1 / len(errors))


@dataclass(frozen=True, kw_only=True)
class AgreeingHints(Hints):
    """AEKD-F: the same errors, weighted so that their gradients with respect to the student's map agree most."""

    compares_images: ClassVar[bool] = True

    tolerance: Probability = 0.6
    """Largest weight before the gradients' lengths are divided out, from 1/K to 1."""

    def build(self, student: Staged, teachers: Sequence[Staged]) -> FeatureTerm:
        expect_tolerance(self.tolerance, len(teachers))
        return HintTerm(self, student, teachers)

    def combine(self, errors: Sequence[Tensor], maps: Sequence[Tensor], student: Tensor) -> tuple[Tensor, Tensor]:
        sizes = [teacher[0].numel() for teacher in maps]
        squares = [error.sum() * size for error, size in zip(errors, sizes, strict=True)]
        weights = feature_weights(squares, sizes, student, self.tolerance)
        return (weights * torch.stack([error.mean() for error in errors])).sum(), weights


def hint_loss(errors: Sequence[Tensor]) -> Tensor:
    """Mean over batch and teachers of each sample's error, K times [B]."""
    return torch.stack([error.mean() for error in errors]).mean()


class HintTerm(FeatureTerm):
    """The module of `Hints`, with one trained regressor for each teacher."""

    def __init__(self, rule: Hints, student: Staged, teachers: Sequence[Staged]):
        super().__init__()
        self.rule = rule
        self.weight, self.first_epoch = rule.weight, rule.first_epoch
        self.student_feature = named_feature("hints", rule.stage, student)
        self.teacher_features = tuple(named_feature("hints", rule.stage, teacher) for teacher in teachers)
        own = student.shapes[self.student_feature]
        shapes = [teacher.shapes[name] for teacher, name in zip(teachers, self.teacher_features, strict=True)]
        self.regressors = nn.ModuleList(Regressor(own, shape) for shape in shapes)

    def forward(self, student: Tensor, teachers: Sequence[Tensor], labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        errors = [map_distance(regress(student), t) for regress, t in zip(self.regressors, teachers, strict=True)]
        term, weights = self.rule.combine(errors, teachers, student)
        return term, {"feature_weights": weights}


class FitNetMKD(MultiTeacher):
    """Learns the logits of one or more teachers, and their feature maps at one stage."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MultiTeacherConfig):
        beta: NonNegative = 100.0
        """Weight of the hints."""
        stage: str = "stage2"
        """Stage whose maps are compared, of the student and of every teacher; see `Hints`."""
        logits_only_epochs: NonNegative = 1.0
        """Epochs at the start without the hints."""

        def rules(self) -> tuple[Weighting, Features]:
            return Weighting(), Hints(weight=self.beta, stage=self.stage, first_epoch=self.logits_only_epochs)
