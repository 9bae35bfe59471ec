"""Scale Decoupled Distillation (Wei et al., CVPR 2024).

SDD compares the logits that the heads of student and teacher give for cells of the last feature maps, at several
scales: the mean over samples and cells of another method's divergence (KD, DKD, NKD), multiplied by `conflict` for
cells on which the teacher is right although it is wrong on the whole image, or vice versa.
Every scale is pooled from a grid of 4 × 4 (or of the finest scale, if that is finer), as in the authors' code.
Deviations: with NKD the label is excluded from the other classes, which a slip in the authors' copy includes; a loss
that is not finite is an error here, not a constant 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from raykd import UserError
from raykd.contract import Batch, Output, Step
from raykd.fields import MinLen, NonNegative, PositiveInt
from raykd.method import MethodConfig
from raykd.methods.base.head import apply_head, expect_mean_pooling
from raykd.methods.base.logit_method import LogitMethod
from raykd.methods.base.student import SingleStudent
from raykd.methods.kd import KD
from raykd.models.staged import Staged


def cells(feature_map: Tensor, scales: Sequence[int]) -> Tensor:
    """Means over the cells of s × s grids, s of each scale in turn: [B, D, h, w] → [B, N, D], N = Σ s²."""
    finest = F.adaptive_avg_pool2d(feature_map, max(4, *scales))
    return torch.cat([F.adaptive_avg_pool2d(finest, scale).flatten(2) for scale in scales], dim=2).mT


def conflict_weights(teacher: Tensor, labels: Tensor, conflict: float) -> Tensor:
    """`conflict` where just one of a cell and the whole image (cell 0) is classified correctly, else 1.

    Teacher's logits [B, N, C], labels [B] → weights [B, N].
    """
    right = teacher.argmax(-1) == labels.unsqueeze(1)
    return torch.where(right == right[:, :1], 1.0, conflict).to(teacher.dtype)


class SDD(SingleStudent):
    """Applies a method of logits to the whole image and to the cells of grids of several scales."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        kind = "logits"
        hard_labels: ClassVar[bool] = True

        method: MethodConfig = KD.Config(gamma=1.0, alpha=1.0)
        """The method whose divergence compares the cells: one of kd, dkd, nkd, wsld."""
        scales: Annotated[tuple[PositiveInt, ...], MinLen(1)] = (1, 2, 4)
        """Cells along each side of the map; the first scale is 1, the whole image."""
        conflict: NonNegative = 2.0
        """Weight of cells in which the teacher is right where its prediction for the whole image is wrong, or vice
        versa."""

        def build(self, new_student: Callable[[], Staged], teachers: Sequence[Staged]) -> "SDD":
            if not self.scales or self.scales[0] != 1:
                raise UserError(f"`method.scales` of sdd must begin with 1, the whole image, not {self.scales}")
            method = self.method.build(new_student, teachers)
            if not isinstance(method, LogitMethod):
                raise UserError("`method.method` of sdd has no divergence of logits: use kd, dkd, nkd or wsld")
            for network in (method.student, *teachers):
                expect_mean_pooling("sdd", network)
            return SDD(self, method, teachers)

    config: Config

    def __init__(self, config: Config, method: LogitMethod, teachers: Sequence[Staged]):
        super().__init__(config, method.student, teachers)
        method.borrow_student()
        self.method = method
        self.teachers = tuple(teachers)  # a tuple registers nothing: their heads are read, not trained
        self.student_features = (self.student.last_stage,)
        self.teacher_features = ((teachers[0].last_stage,),)

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        scales, (feature,), ((name,),) = self.config.scales, self.student_features, self.teacher_features
        target = apply_head(self.teachers[0], cells(teachers[0].features[name], scales))
        logits = apply_head(self.student, cells(student.features[feature], scales))
        weights = conflict_weights(target, batch.labels, self.config.conflict).flatten()
        labels = batch.labels.repeat_interleave(logits.shape[1])
        terms = self.method.divergence(
            logits.flatten(0, 1), target.flatten(0, 1), labels, self.method.config.temperature
        )
        means = {name: (weights * term).mean() for name, term in terms.items()}
        return self.method.weighted(means, student.logits, batch.labels, epoch)
