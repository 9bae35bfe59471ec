"""Pooled features matched through a projector: for teachers that give features and no classes, as DINOv2's or CLIP's.

Each teacher has a projector of the student's pooled feature [B, D] into its own [B, D']; the loss is 1 − their cosine,
as AM-RADIO's for its summary token (Ranzinger et al., CVPR 2024), or their mean squared difference
(Romero et al., ICLR 2015). No labels are read, and the student's last layer does not train: the features are
used by a linear probe (`linear_probe`) or by fine-tuning (`supervised`) with weights `…#backbone`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raykd.contract import Batch, Output, Step
from raykd.fields import NonNegativeInt
from raykd.losses import full_precision
from raykd.methods.base.student import SingleStudent, StudentConfig
from raykd.models.staged import Staged

FEATURE = "pooled"


def feature_distance(projected: Tensor, target: Tensor, distance: str) -> Tensor:
    """Batch mean of 1 − cosine ("cosine"), or of the mean squared difference ("mse"); both [B, D]."""
    projected, target = full_precision(projected), full_precision(target)
    if distance == "cosine":
        return (1 - F.cosine_similarity(projected, target, dim=1)).mean()
    return (projected - target).square().mean()


def projector(student: int, teacher: int, hidden: int) -> nn.Module:
    """[B, student] → [B, teacher]: linear, or with one hidden layer of BN and ReLU."""
    if not hidden:
        return nn.Linear(student, teacher)
    return nn.Sequential(
        nn.Linear(student, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, teacher)
    )


class FeatureMatch(SingleStudent):
    """Trains the student's features to predict those of one or more teachers, without labels or classes."""

    @dataclass(frozen=True, kw_only=True)
    class Config(StudentConfig):
        kind = "features"
        takes = (1, None)
        compares_classes = False

        distance: Literal["cosine", "mse"] = "cosine"
        """Distance of projected and teacher's feature: 1 − their cosine, or their mean squared difference."""
        hidden: NonNegativeInt = 0
        """Width of the projectors' hidden layer; 0: they are linear."""

    config: Config

    student_features = (FEATURE,)

    def __init__(self, config: Config, student: Staged, teachers: Sequence[Staged]):
        super().__init__(config, student, teachers)
        self.teacher_features = ((FEATURE,),) * len(teachers)
        width = student.width(FEATURE)
        self.projectors = nn.ModuleList(projector(width, t.width(FEATURE), config.hidden) for t in teachers)
        for name in student.classifiers:  # no term reads them
            student.model.get_submodule(name).requires_grad_(False)

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        feature = student.features[FEATURE]
        pairs = zip(self.projectors, teachers, strict=True)
        distances = torch.stack(
            [feature_distance(project(feature), t.features[FEATURE], self.config.distance) for project, t in pairs]
        )
        return Step({"feature": distances.mean()}, {"distances": distances.detach()})
