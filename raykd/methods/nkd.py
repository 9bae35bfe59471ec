"""From Knowledge Distillation to Self-Knowledge Distillation: A Unified Approach with Normalized Loss and Customized
Soft Labels (Yang et al., ICCV 2023).

NKD: CE − p_t(y) log p_s(y) − γ T² · mean over samples of Σ_{c≠y} p̂_t(c) log p̂_s(c), where p̂ are the softmaxes at T of
the logits without the label's, so that both sides sum to 1.
The published settings are T 1, γ 1.5 on ImageNet (γ 1 for ViTs), T 3, γ 3.5 on CIFAR-100.
As in the authors' code, a label that is shared between classes counts in the last two terms as its largest class.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from raykd.fields import NonNegative, Positive
from raykd.losses import full_precision
from raykd.methods.base.logit_method import LogitConfig, LogitMethod
from raykd.methods.dkd import split_target


def nkd_loss(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float | Tensor) -> dict[str, Tensor]:
    """Terms "target" and "others" of each sample, [B], T² included; logits [B, C], labels [B] or [B, C]."""
    if labels.is_floating_point():
        labels = labels.argmax(1)
    student, teacher = full_precision(student), full_precision(teacher)
    p, log_q = F.softmax(teacher, dim=1), F.log_softmax(student, dim=1)
    target = -(p * log_q).gather(1, labels.unsqueeze(1)).squeeze(1)
    others_s, others_t = (split_target(z / temperature, labels)[1] for z in (student, teacher))
    others = -(F.softmax(others_t, dim=1) * F.log_softmax(others_s, dim=1)).sum(1)
    return {"target": target, "others": temperature**2 * others}


class NKD(LogitMethod):
    """Learns the teacher's probability of the label and, renormalised, those of the other classes."""

    @dataclass(frozen=True, kw_only=True)
    class Config(LogitConfig):
        kind = "logits"

        gamma: NonNegative = 1.0
        """Weight of the cross-entropy with the labels."""
        alpha: NonNegative = 1.0
        """Weight of the label's term, −p_t(y) log p_s(y)."""
        beta: NonNegative = 3.5
        """Weight of the term of the other classes (the paper's γ; T² is part of the term)."""
        temperature: Positive = 3.0
        """Temperature T of the softmaxes over the other classes."""

    config: Config

    def divergence(
        self, student: Tensor, teacher: Tensor, labels: Tensor, temperature: float | Tensor
    ) -> dict[str, Tensor]:
        terms = nkd_loss(student, teacher, labels, temperature)
        return {"target": self.config.alpha * terms["target"], "others": self.config.beta * terms["others"]}
