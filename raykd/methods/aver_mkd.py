"""Several teachers, equally weighted: γ CE + α · mean over teachers of T² KL(teacher_k ‖ student).

AVER-MKD as Confidence-Aware Multi-Teacher Knowledge Distillation (Zhang, Chen, Wang, ICASSP 2022) compares it; the idea
is You et al. 2017, "Learning from multiple teacher networks".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from raykd.contract import Batch, Output, Step, expect_teachers
from raykd.losses import cross_entropy, kl_divergence
from raykd.method import MethodConfig
from raykd.methods.student import SingleStudent, expect_positive, expect_same_classes, stack_teachers
from raykd.models.staged import Staged


def aver_mkd_loss(student: Tensor, teachers: Tensor, temperature: float) -> Tensor:
    """Mean over K teachers and the batch of T² KL(teacher_k ‖ student); [B, C] and [K, B, C]."""
    return kl_divergence(student.expand_as(teachers), teachers, temperature)


class AverMKD(SingleStudent):
    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        kind = "several teachers"

        gamma: float = 1.0
        """Weight of the cross-entropy with the labels."""
        alpha: float = 1.0
        """Weight of the mean divergence from the teachers (T² is part of it)."""
        temperature: float = 4.0
        """Temperature T of both softmaxes."""

        def build(self, new_student: Callable[[], Staged], teachers: Sequence[Staged]) -> "AverMKD":
            expect_teachers("aver_mkd", teachers, 1)
            expect_positive("aver_mkd", temperature=self.temperature)
            student = new_student()
            expect_same_classes("aver_mkd", student, teachers)
            return AverMKD(self, student, teachers)

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        c = self.config
        divergence = aver_mkd_loss(student.logits, stack_teachers(teachers), c.temperature)
        return Step({"ce": c.gamma * cross_entropy(student.logits, batch.labels), "kd": c.alpha * divergence}, {})
