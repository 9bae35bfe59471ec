"""Rethinking Soft Labels for Knowledge Distillation: A Bias-Variance Tradeoff Perspective (Zhou et al., ICLR 2021).

WSLD: γ CE + α T² · mean over samples of w · CE of the softmaxes at T. The better the student already is on a sample,
the smaller its weight: w = 1 − exp(−CE(student, y) / CE(teacher, y)), without gradient. The published settings are
T 2, α 2.5 on ImageNet and T 4, α 2.25 on CIFAR-100.
Deviation: the authors' code assumes 1000 classes. As in that code, 1e-7 is added to the teacher's cross-entropy: if the
teacher is certain and right, the weight is close to 1 unless the student is, too.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from raykd.fields import NonNegative, Positive
from raykd.losses import cross_entropy, full_precision
from raykd.methods.base.logit_method import LogitConfig, LogitMethod


@torch.no_grad()
def sample_weights(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """1 − exp(−CE(student, y) / CE(teacher, y)), [B]; logits [B, C], labels [B] or [B, C]."""
    ratio = cross_entropy(student, labels, reduction="none") / (cross_entropy(teacher, labels, reduction="none") + 1e-7)
    return -torch.expm1(-ratio)


def wsld_loss(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float | Tensor) -> Tensor:
    """w T² CE(softmax(teacher/T), softmax(student/T)) of each sample: logits [B, C], labels [B] or [B, C] → [B]."""
    p = F.softmax(full_precision(teacher) / temperature, dim=1)
    log_q = F.log_softmax(full_precision(student) / temperature, dim=1)
    return sample_weights(student, teacher, labels) * temperature**2 * -(p * log_q).sum(1)


class WSLD(LogitMethod):
    """Learns from softened probabilities with a weight for each sample, small where the student is already good."""

    @dataclass(frozen=True, kw_only=True)
    class Config(LogitConfig):
        kind = "logits"

        gamma: NonNegative = 1.0
        """Weight of the cross-entropy with the labels."""
        alpha: NonNegative = 2.25
        """Weight of the weighted soft-label term (T² is part of the term)."""
        temperature: Positive = 4.0
        """Temperature T of both softmaxes."""

    config: Config

    def divergence(
        self, student: Tensor, teacher: Tensor, labels: Tensor, temperature: float | Tensor
    ) -> dict[str, Tensor]:
        return {"kd": self.config.alpha * wsld_loss(student, teacher, labels, temperature)}
