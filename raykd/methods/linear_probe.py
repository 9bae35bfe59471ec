"""Cross-entropy that trains only the last layer, on the features of a frozen network.

The linear evaluation of features (Chen et al., ICML 2020); the student's `weights` name them, such as
`runs/features/match/student.safetensors#backbone`. BatchNorms keep their running statistics.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from raykd import UserError
from raykd.contract import Batch, Output, Step
from raykd.losses import cross_entropy
from raykd.methods.base.student import SingleStudent, StudentConfig
from raykd.models.staged import Staged


class LinearProbe(SingleStudent):
    """Trains a linear classifier on the features of a frozen network.

    Raises UserError if the network's last layer is not linear.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(StudentConfig):
        kind = "baseline"
        uses_teachers = False
        takes = (0, 0)

    def __init__(self, config: Config, student: Staged, teachers: Sequence[Staged]):
        super().__init__(config, student, teachers)
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
