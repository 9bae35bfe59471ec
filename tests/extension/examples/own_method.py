"""A user's own method: cross-entropy plus the mean absolute difference of the logits.

raykd train own_method.py
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from raykd.contract import Batch, Output, Step, expect_teachers
from raykd.fields import NonNegative
from raykd.losses import cross_entropy
from raykd.method import MethodConfig
from raykd.methods.base.student import SingleStudent, expect_same_classes
from raykd.models.config import Network
from raykd.models.staged import Staged
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as digits


def distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean absolute difference of logits [B, C]."""
    return (student - teacher).abs().mean()


class Absolute(SingleStudent):
    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        kind = "logits"

        weight: NonNegative = 1.0
        """Weight of the difference."""

        def build(self, new_student: Callable[[], Staged], teachers: Sequence[Staged]) -> "Absolute":
            expect_teachers("absolute", teachers, 1, 1)
            student = new_student()
            expect_same_classes("absolute", student, teachers)
            return Absolute(self, student, teachers)

    config: Config

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        kd = self.config.weight * distance(student.logits, teachers[0].logits)
        return Step({"ce": cross_entropy(student.logits, batch.labels), "kd": kd}, {})


teacher = replace(digits, student=Network(name="resnet14"))
recipe = replace(digits, method=Absolute.Config(), teachers=Teachers(sources=(Train(recipe=teacher),)))
