"""Training data-efficient image transformers & distillation through attention (Touvron et al., ICML 2021).

(1 − α) CE(student, y) + α CE(student, argmax of the teacher): the teacher's decision as a second label. At a
temperature above 0 the second term is α T² KL(teacher ‖ student).
The paper's transformers read the second term off a distillation token's own head; here both terms read the
network's logits. The authors' code divides the soft term by B·C; as in the paper, it is the
mean over the batch here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from raykd.contract import Batch, Output, Step
from raykd.fields import NonNegative, Probability
from raykd.losses import cross_entropy, kl_divergence
from raykd.methods.base.student import SingleStudent, StudentConfig


def teacher_label_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """CE(student, argmax teacher) at temperature 0, T² KL(teacher ‖ student) above; a batch mean of logits [B, C]."""
    if temperature == 0:
        return cross_entropy(student, teacher.argmax(1))
    return kl_divergence(student, teacher, temperature)


class DeiT(SingleStudent):
    """Learns from the labels and from the teacher's top-1 classes as further labels."""

    @dataclass(frozen=True, kw_only=True)
    class Config(StudentConfig):
        kind = "logits"

        alpha: Probability = 0.5
        """Weight of the teacher's labels; that of the true ones is 1 − alpha."""
        temperature: NonNegative = 0.0
        """0: learn from the teacher's top-1 class; above 0: from its softmax at this temperature, times T²."""

    config: Config

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        c, logits = self.config, student.logits
        terms = {
            "ce": (1 - c.alpha) * cross_entropy(logits, batch.labels),
            "kd": c.alpha * teacher_label_loss(logits, teachers[0].logits, c.temperature),
        }
        return Step(terms, {})
