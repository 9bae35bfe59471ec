"""Knowledge Distillation Based on Transformed Teacher Matching (Zheng & Yang, ICLR 2024): TTM and WTTM.

The teacher's probabilities are raised to a power and renormalised (a softmax at temperature 1/power); the student has
no temperature, and there is no T²: γ CE + α · mean over samples of KL(p_t^power ‖ p_s). WTTM weights every sample by
Σ_c p_t(c)^power, which is larger for less certain teachers.
The published CIFAR-100 settings differ by pair of networks; WTTM's for vgg13 → vgg8 is power 0.1, α 45.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from raykd.contract import Batch, Output, Step
from raykd.fields import NonNegative, Positive
from raykd.losses import cross_entropy, full_precision, kl_divergence
from raykd.methods.base.student import SingleStudent, StudentConfig


def ttm_loss(student: Tensor, teacher: Tensor, power: float, weighted: bool) -> Tensor:
    """KL(transformed teacher ‖ student) of each sample, times its weight if weighted: logits [B, C] → [B]."""
    log_p = power * F.log_softmax(full_precision(teacher), dim=1)
    divergence = kl_divergence(student, log_p, reduction="none")
    return log_p.detach().exp().sum(1) * divergence if weighted else divergence


class TTM(SingleStudent):
    """Learns from the teacher's probabilities raised to a power, optionally weighted by their uncertainty."""

    @dataclass(frozen=True, kw_only=True)
    class Config(StudentConfig):
        kind = "logits"
        label_weight = "gamma"

        gamma: NonNegative = 1.0
        """Weight of the cross-entropy with the labels."""
        alpha: NonNegative = 45.0
        """Weight of the divergence from the transformed teacher."""
        power: Positive = 0.1
        """Power that the teacher's probabilities are raised to (the paper's γ)."""
        weighted: bool = True
        """True: WTTM, which weights the samples; False: TTM."""

    config: Config

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        c, logits = self.config, student.logits
        divergence = ttm_loss(logits, teachers[0].logits, c.power, c.weighted).mean()
        return Step({"ce": c.gamma * cross_entropy(logits, batch.labels), "kd": c.alpha * divergence}, {})
