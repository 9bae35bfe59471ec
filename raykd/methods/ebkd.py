"""EBKD: teachers weighted per sample by the entropy of their predictions (Kwon et al., ICASSP 2020).

As CA-MKD compares it: w_k = 1 − H_k / Σ_j H_j, with H the entropy at temperature 1; the loss is
Σ_b Σ_k w_kb KL_kb / (B K).
Deviation: a class of probability 0 adds 0 to the entropy, where CA-MKD's code gives NaN; if all teachers are certain
(all entropies 0), the weights are equal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from raykd.contract import Batch, Output, Step, expect_teachers
from raykd.losses import cross_entropy, entropy, kl_divergence
from raykd.method import MethodConfig
from raykd.methods.student import SingleStudent, expect_positive, expect_same_classes, stack_teachers
from raykd.models.staged import Staged


def entropy_weights(teachers: Tensor) -> Tensor:
    """Weights [K, B] of teachers' logits [K, B, C]; they sum to K − 1 per sample, as in CA-MKD's code."""
    uncertainty = entropy(teachers)
    total = uncertainty.sum(0)
    certain = total <= 0
    share = uncertainty / torch.where(certain, 1.0, total)
    return 1 - torch.where(certain, 1 / len(teachers), share)


def ebkd_loss(student: Tensor, teachers: Tensor, temperature: float) -> Tensor:
    """Mean over batch and K teachers of w_kb T² KL(teacher_k ‖ student); [B, C] and [K, B, C]."""
    divergences = kl_divergence(student.expand_as(teachers), teachers, temperature, reduction="none")
    return (entropy_weights(teachers) * divergences).mean()


class EBKD(SingleStudent):
    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        kind = "several teachers"

        gamma: float = 1.0
        """Weight of the cross-entropy with the labels."""
        alpha: float = 1.0
        """Weight of the weighted divergence from the teachers (T² is part of it)."""
        temperature: float = 4.0
        """Temperature T of both softmaxes of the divergence."""

        def build(self, new_student: Callable[[], Staged], teachers: Sequence[Staged]) -> "EBKD":
            expect_teachers("ebkd", teachers, 2)
            expect_positive("ebkd", temperature=self.temperature)
            student = new_student()
            expect_same_classes("ebkd", student, teachers)
            return EBKD(self, student, teachers)

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        c = self.config
        logits, targets = student.logits, stack_teachers(teachers)
        terms = {
            "ce": c.gamma * cross_entropy(logits, batch.labels),
            "kd": c.alpha * ebkd_loss(logits, targets, c.temperature),
        }
        return Step(terms, {"teacher_weights": entropy_weights(targets).mean(1).detach()})
