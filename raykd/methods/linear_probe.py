"""Cross-entropy that trains only the last layer, on the features of a frozen network.

The linear evaluation of features (Chen et al., ICML 2020); the student's `weights` name them, such as
`runs/features/match/student.safetensors#backbone`. BatchNorms keep their running statistics.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from raykd import UserError
from raykd.contract import Batch, Output, Step, expect_teachers
from raykd.losses import cross_entropy
from raykd.method import MethodConfig
from raykd.methods.base.student import SingleStudent
from raykd.models.staged import Staged


class LinearProbe(SingleStudent):
    """Trains a linear classifier on the features of a frozen network.

    Raises UserError if the network's last layer is not linear.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        kind = "baseline"
        uses_teachers: ClassVar[bool] = False

        def build(self, new_student: Callable[[], Staged], teachers: Sequence[Staged]) -> "LinearProbe":
            expect_teachers("linear_probe", teachers, 0, 0)
            return LinearProbe(self, new_student())

    def __init__(self, config: Config, student: Staged):
        super().__init__(config, student)
        if not student.classifiers:
            raise UserError(
                f"linear_probe trains the last layer, which is not linear in {student.name}: use another network"
            )
        student.requires_grad_(False)
        for name in student.classifiers:
            student.model.get_submodule(name).requires_grad_(True)

    def train(self, mode: bool = True) -> "LinearProbe":
        super().train(mode)
        self.student.eval()  # no dropout, no batch statistics
        return self

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        return Step({"ce": cross_entropy(student.logits, batch.labels)}, {})
