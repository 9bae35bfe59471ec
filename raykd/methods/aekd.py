"""Agree to Disagree: Adaptive Ensemble Knowledge Distillation in Gradient Space (Du et al., NeurIPS 2020).

The teachers' weights are those of the shortest convex combination of their gradients in logit space, each at most the
tolerance: one direction that helps every teacher's loss. The gradient of T² KL(teacher_k ‖ student) with respect to the
student's logits is T (p_s − p_k), so no backward pass is needed.
Deviations: CA-MKD's code solves the problem with libsvm, whose tolerance of 1e-6 is coarse for gradients this small;
here it is exact. The gradients are averaged over the global batch, so that the weights don't depend on the number of
workers. Where the optimum is not unique (identical teachers), the most even weights are taken.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from raykd import UserError
from raykd.contract import Batch, Output, Step, expect_teachers, global_sum
from raykd.losses import cross_entropy, full_precision, kl_divergence
from raykd.method import MethodConfig
from raykd.methods.student import SingleStudent, expect_positive, expect_same_classes, stack_teachers
from raykd.models.staged import Staged

MOST_TEACHERS = 8  # up to 3^K systems of K + 1 unknowns are solved at once
PULL = 1e-9  # of each proximal step towards the last solution, relative to each gradient's squared length
PROXIMAL_STEPS = 4


@torch.compiler.disable
@torch.no_grad()
def min_norm_weights(gram: Tensor, upper: float) -> Tensor:
    """argmin aᵀ G a with Σ a = 1 and 0 ≤ a ≤ upper, exactly; gram [K, K] → [K] float64, on its device without a sync.

    Every weight is at 0, at `upper`, or free: the equations of optimality of all these cases are solved together, and
    the best solution within the bounds is taken. Proximal steps, whose pull vanishes at the solution, keep singular
    cases solvable and lead to the optimum that is nearest to equal weights. An `upper` below 1/K, which leaves no
    solution, is taken for 1/K.
    """
    count = len(gram)
    gram = gram.double()
    upper = min(max(upper, 1 / count), 1.0)
    scale = gram.diagonal().mean()
    gram = gram / torch.where(scale > 0, scale, 1.0)
    pull = PULL * gram.diagonal().clamp_min(PULL)
    weights = torch.full((count,), 1 / count, dtype=gram.dtype, device=gram.device)
    for _ in range(PROXIMAL_STEPS):
        weights = _best_case(gram, upper, weights, pull)
    return weights


def _best_case(gram: Tensor, upper: float, centre: Tensor, pull: Tensor) -> Tensor:
    """The weights that minimise aᵀ G a + Σ_k pull_k (a_k − centre_k)² within the bounds."""
    count = len(gram)
    pulled = gram + torch.diag(pull)
    case = torch.as_tensor(_cases(count, int(1 / upper + 1e-9)), device=gram.device)
    free = (case == 0).unsqueeze(-1)
    bound = upper * (case == 2).to(gram.dtype)
    system = gram.new_zeros(len(case), count + 1, count + 1)
    system[:, :count, :count] = torch.where(free, pulled, torch.eye(count, dtype=gram.dtype, device=gram.device))
    system[:, :count, count] = free.squeeze(-1).to(gram.dtype)
    system[:, count, :count] = 1.0
    right = torch.cat([torch.where(case == 0, pull * centre, bound), gram.new_ones(len(case), 1)], dim=1)
    weights = torch.linalg.solve_ex(system, right.unsqueeze(-1))[0].squeeze(-1)[:, :count]
    inside = ((weights > -1e-10) & (weights < upper + 1e-10)).all(1) & ((weights.sum(1) - 1).abs() < 1e-9)
    weights = torch.where(inside.unsqueeze(1), weights.clamp(0.0, upper), centre)
    cost = ((weights @ gram) * weights).sum(1) + (weights - centre).square() @ pull
    return weights.index_select(0, torch.where(inside, cost, torch.inf).argmin().reshape(1)).squeeze(0)


@lru_cache
def _cases(count: int, most: int) -> np.ndarray:
    """All ways [n, count] for weights to be free (0), at 0 (1), or, at most `most` of them, at the upper bound (2).

    One that has no free weight can't meet Σ a = 1 by itself, and others contain it.
    """
    ways = np.array(list(product(range(3), repeat=count)))
    return ways[((ways == 2).sum(1) <= most) & (ways == 0).any(1)]


@torch.no_grad()
def aekd_weights(
    student: Tensor, teachers: Tensor, temperature: float, tolerance: float = 0.6, normalize: bool = False
) -> Tensor:
    """Weights [K] of teachers' logits [K, B, C] for the student's [B, C], from the batch of all workers together.

    tolerance: the largest weight, between 1/K and 1. normalize: compare directions only, and weigh the gradients by
    the inverse of their lengths afterwards (a weight may then exceed the tolerance).
    """
    p_student = F.softmax(student.double() / temperature, dim=-1)
    gradients = global_sum((p_student - F.softmax(teachers.double() / temperature, dim=-1)).sum(1))
    if not normalize:
        return min_norm_weights(gradients @ gradients.t(), tolerance).to(full_precision(student).dtype)
    length = torch.linalg.vector_norm(gradients, dim=1).clamp_min(torch.finfo(gradients.dtype).tiny)
    direction = gradients / length.unsqueeze(1)
    weights = min_norm_weights(direction @ direction.t(), tolerance) / length
    return (weights / weights.sum()).to(full_precision(student).dtype)


def aekd_loss(student: Tensor, teachers: Tensor, weights: Tensor, temperature: float) -> Tensor:
    """Σ_k a_k T² KL(teacher_k ‖ student), a batch mean; [B, C], [K, B, C], [K]."""
    divergences = kl_divergence(student.expand_as(teachers), teachers, temperature, reduction="none").mean(1)
    return (weights * divergences).sum()


class AEKD(SingleStudent):
    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        kind = "several teachers"

        gamma: float = 1.0
        """Weight of the cross-entropy with the labels."""
        alpha: float = 1.0
        """Weight of the weighted divergence from the teachers (T² is part of it)."""
        temperature: float = 4.0
        """Temperature T of both softmaxes."""
        tolerance: float = 0.6
        """Largest weight of a teacher, from 1/K (all equal) to 1 (one may have all)."""
        normalize: bool = False
        """Compare the directions of the teachers' gradients only."""

        def build(self, new_student: Callable[[], Staged], teachers: Sequence[Staged]) -> "AEKD":
            expect_teachers("aekd", teachers, 2, MOST_TEACHERS)
            expect_positive("aekd", temperature=self.temperature)
            if not 1 / len(teachers) <= self.tolerance <= 1:
                raise UserError(
                    f"`method.tolerance` of aekd must be between 1/K and 1, with K = {len(teachers)} teachers, "
                    f"not {self.tolerance}"
                )
            student = new_student()
            expect_same_classes("aekd", student, teachers)
            return AEKD(self, student, teachers)

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        c = self.config
        logits, targets = student.logits, stack_teachers(teachers)
        weights = aekd_weights(logits, targets, c.temperature, c.tolerance, c.normalize)
        terms = {
            "ce": c.gamma * cross_entropy(logits, batch.labels),
            "kd": c.alpha * aekd_loss(logits, targets, weights, c.temperature),
        }
        return Step(terms, {"teacher_weights": weights})
