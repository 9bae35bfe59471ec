"""Training data-efficient image transformers & distillation through attention (Touvron, Cord, Douze, Massa,
Sablayrolles, Jégou, ICML 2021).

(1 − α) CE(student, y) + α CE(student, argmax of the teacher), eq. 3: the teacher's decision as a second label. At a
temperature above 0 the second term is α T² KL(teacher ‖ student), eq. 2.
The paper's transformers read the second term off a distillation token's own head; here both terms read the logits of
the network, whose heads are its own matter. The authors' code divides the soft term by B·C; as in the paper, it is the
mean over the batch here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from raykd.contract import Batch, Output, Step
from raykd.fields import NonNegative, Probability
from raykd.losses import cross_entropy, kl_divergence
from raykd.method import MethodConfig
from raykd.methods.base.student import SingleStudent, student_of_one_teacher
from raykd.models.staged import Staged


def teacher_label_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """CE(student, argmax teacher) at temperature 0, T² KL(teacher ‖ student) above; a batch mean of logits [B, C]."""
    if temperature == 0:
        return cross_entropy(student, teacher.argmax(1))
    return kl_divergence(student, teacher, temperature)


class DeiT(SingleStudent):
    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        kind = "logits"

        alpha: Probability = 0.5
        """Weight of the teacher's labels; that of the true ones is 1 − alpha."""
        temperature: NonNegative = 0.0
        """0: the class that the teacher decides for; above 0: its softmax at this temperature, times T²."""

        def build(self, new_student: Callable[[], Staged], teachers: Sequence[Staged]) -> "DeiT":
            return DeiT(self, student_of_one_teacher("deit", new_student, teachers), teachers)

    config: Config

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        c, logits = self.config, student.logits
        terms = {
            "ce": (1 - c.alpha) * cross_entropy(logits, batch.labels),
            "kd": c.alpha * teacher_label_loss(logits, teachers[0].logits, c.temperature),
        }
        return Step(terms, {})
