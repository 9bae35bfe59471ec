"""Agree to Disagree: Adaptive Ensemble Knowledge Distillation in Gradient Space (Du et al., NeurIPS 2020): AEKD.

The teachers' weights are those of the shortest convex combination of their gradients in logit space, each at most the
tolerance: a direction that decreases every teacher's loss. The gradient of T² KL(teacher_k ‖ student) with respect to
the student's logits is T (p_s − p_k), so no backward pass is needed. Features ("AEKD-F") are weighted in the same
way, by the directions of their errors' gradients with respect to the student's map: a short backward pass each.
Deviations: CA-MKD's code solves the problem with libsvm, whose tolerance of 1e-6 is coarse for gradients this small;
here it is exact. The gradients are averaged over the global batch, so that the weights don't depend on the number of
workers. If the optimum is not unique (identical teachers), the weights closest to equal ones are taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from raykd import UserError
from raykd.contract import global_sum
from raykd.fields import Probability
from raykd.losses import full_precision
from raykd.methods.base.min_norm import MAX_GRADIENTS, min_norm_weights
from raykd.methods.base.multi_teacher import Features, MultiTeacher, MultiTeacherConfig, Weighting


@torch.no_grad()
def aekd_weights(
    student: Tensor, teachers: Tensor, temperature: float, tolerance: float = 0.6, normalize: bool = False
) -> Tensor:
    """Weights [K] of teachers' logits [K, B, C] for the student's [B, C], computed from the global batch.

    tolerance: the largest weight, between 1/K and 1. normalize: compare directions only, and divide the weights by the
    gradients' lengths afterwards (a weight may then exceed the tolerance).
    """
    p_student = F.softmax(student.double() / temperature, dim=-1)
    gradients = global_sum((p_student - F.softmax(teachers.double() / temperature, dim=-1)).sum(1))
    return agreement(gradients, tolerance, normalize).to(full_precision(student).dtype)


@torch.compiler.disable  # type: ignore[untyped-decorator]  # torch gives it no type
def feature_weights(errors: Sequence[Tensor], sizes: Sequence[int], feature: Tensor, tolerance: float) -> Tensor:
    """Weights [K] of K errors by their gradients with respect to a feature [B, …], summed over the global batch.

    errors: sums of squares over the local batch, []; their graph is retained. sizes: number of values of each sample in
    these sums; the gradients are divided by it, not the errors, so that small ones don't underflow in half precision.
    """
    gradients = [torch.autograd.grad(error, feature, retain_graph=True)[0] for error in errors]
    means = [g.double().sum(0).flatten() / size for g, size in zip(gradients, sizes, strict=True)]
    return agreement(global_sum(torch.stack(means)), tolerance, normalize=True).to(full_precision(feature).dtype)


def agreement(gradients: Tensor, tolerance: float, normalize: bool) -> Tensor:
    """Weights [K] of the shortest combination of gradients [K, n]; see `aekd_weights`."""
    if not normalize:
        return min_norm_weights(gradients @ gradients.t(), tolerance)
    length: Tensor = torch.linalg.vector_norm(gradients, dim=1).clamp_min(torch.finfo(gradients.dtype).tiny)
    direction = gradients / length.unsqueeze(1)
    weights = min_norm_weights(direction @ direction.t(), tolerance) / length
    return weights / weights.sum()


def expect_tolerance(tolerance: float, count: int) -> None:
    """Raise UserError unless `count` weights of at most `tolerance` can sum to 1, and the solver supports so many."""
    if not 1 / count <= tolerance <= 1:
        raise UserError(f"`tolerance` must be between 1/K and 1, with K = {count} teachers, not {tolerance}")
    if count > MAX_GRADIENTS:
        raise UserError(f"aekd supports at most {MAX_GRADIENTS} teachers, not {count}: change `teachers`")


@dataclass(frozen=True, kw_only=True)
class Agreement(Weighting):
    """AEKD's weights: those of the shortest combination of the teachers' gradients, the same for all samples."""

    compares_images: ClassVar[bool] = True
    fewest: ClassVar[int] = 2
    most: ClassVar[int] = MAX_GRADIENTS

    tolerance: Probability = 0.6
    """Largest weight of a teacher, from 1/K (all equal) to 1 (one may have all)."""
    normalize: bool = False
    """Use only the directions of the teachers' gradients, not their lengths."""

    def check(self, count: int) -> None:
        expect_tolerance(self.tolerance, count)

    def weights(self, student: Tensor, teachers: Tensor, labels: Tensor, temperature: float) -> Tensor:
        return aekd_weights(student, teachers, temperature, self.tolerance, self.normalize).unsqueeze(1)


class AEKD(MultiTeacher):
    """Learns from several teachers, weighted by how well their gradients agree."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MultiTeacherConfig):
        tolerance: Probability = 0.6
        """Largest weight of a teacher, from 1/K (all equal) to 1 (one may have all)."""
        normalize: bool = False
        """Use only the directions of the teachers' gradients, not their lengths."""

        def rules(self) -> tuple[Weighting, Features]:
            return Agreement(tolerance=self.tolerance, normalize=self.normalize), Features()
