"""Knowledge distillation: A good teacher is patient and consistent (Beyer et al., CVPR 2022): function matching.

Only the KL from the teacher, on strongly mixed images that teacher and student share; labels are never read.
big_vision's code multiplies by T²; the TensorFlow re-implementation behind the small-data results does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from raykd.contract import Batch, Output, Step
from raykd.fields import Positive
from raykd.losses import kl_divergence
from raykd.methods.base.student import SingleStudent, StudentConfig, stack_teachers


def funmatch_loss(student: Tensor, teachers: Tensor, temperature: float, scale_by_t2: bool) -> Tensor:
    """Σ_k KL(softmax(teacher_k/T) ‖ softmax(student/T)), a batch mean; logits [B, C] and [K, B, C].

    scale_by_t2: multiply it by T².
    """
    divergence = kl_divergence(student.expand_as(teachers), teachers, temperature, reduction="none").mean(1).sum()
    return divergence if scale_by_t2 else divergence / temperature**2


class FunMatch(SingleStudent):
    """Matches the teachers' probabilities on strongly augmented images, without labels."""

    @dataclass(frozen=True, kw_only=True)
    class Config(StudentConfig):
        kind = "logits"
        takes = (1, None)
        reads_labels = False

        temperature: Positive = 1.0
        """Temperature T of both softmaxes."""
        scale_by_t2: bool = True
        """Multiply the divergence by T², as the official code does."""

    config: Config

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        c = self.config
        loss = funmatch_loss(student.logits, stack_teachers(teachers), c.temperature, c.scale_by_t2)
        return Step({"kd": loss}, {})
