"""Distilling the Knowledge in a Neural Network (Hinton et al., 2015): γ CE + α T² KL(teacher ‖ student).

With `standardize`, both logits are z-scored per sample first: Logit Standardization in Knowledge Distillation
(Sun et al., CVPR 2024), which uses T = 2 and α = 9 on CIFAR-100.
The defaults are RepDistiller's (γ 0.1, α 0.9, T 4); OKDDip's schedule uses γ 1, α 1, T 3.
Deviation: OKDDip's and TESKD's code adds 1e-7 to the teacher's probabilities without renormalising; this KL is clean.
"""

from dataclasses import dataclass

from torch import Tensor

from raykd.fields import NonNegative, Positive
from raykd.losses import kl_divergence
from raykd.losses import standardize as z_score
from raykd.methods.base.logit_method import LogitConfig, LogitMethod


def kd_loss(student: Tensor, teacher: Tensor, temperature: float | Tensor, standardize: bool = False) -> Tensor:
    """T² KL(teacher ‖ student) of each sample: logits [B, C] → [B]; standardize: z-scored first."""
    if standardize:
        student, teacher = z_score(student), z_score(teacher)
    return kl_divergence(student, teacher, temperature, reduction="none")


class KD(LogitMethod):
    """Learns from the labels and from the teacher's probabilities, softened by a temperature."""

    @dataclass(frozen=True, kw_only=True)
    class Config(LogitConfig):
        kind = "logits"
        label_weight = "gamma"

        gamma: NonNegative = 0.1
        """Weight of the cross-entropy with the labels."""
        alpha: NonNegative = 0.9
        """Weight of the divergence from the teacher (T² is part of the divergence)."""
        temperature: Positive = 4.0
        """Temperature T of both softmaxes."""
        standardize: bool = False
        """Z-score teacher's and student's logits per sample before the divergence (Sun et al. 2024: T 2, alpha 9)."""

    config: Config

    def divergence(
        self, student: Tensor, teacher: Tensor, labels: Tensor, temperature: float | Tensor
    ) -> dict[str, Tensor]:
        c = self.config
        return {"kd": c.alpha * kd_loss(student, teacher, temperature, c.standardize)}
