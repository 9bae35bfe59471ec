"""Cross-entropy on the labels and nothing else: the baseline of every comparison, and how teachers are trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from raykd.contract import Batch, Output, Step, expect_teachers
from raykd.losses import cross_entropy
from raykd.method import MethodConfig
from raykd.methods.base.student import SingleStudent
from raykd.models.staged import Staged


class Supervised(SingleStudent):
    """Trains by labels alone."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        kind = "baseline"
        uses_teachers: ClassVar[bool] = False

        def build(self, new_student: Callable[[], Staged], teachers: Sequence[Staged]) -> "Supervised":
            expect_teachers("supervised", teachers, 0, 0)
            return Supervised(self, new_student())

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        return Step({"ce": cross_entropy(student.logits, batch.labels)}, {})
