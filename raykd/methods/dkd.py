"""Decoupled Knowledge Distillation (Zhao et al., CVPR 2022).

The divergence is split into that of target against all others, α · TCKD, and that among the others, β · NCKD.
The published CIFAR-100 settings have γ 1, α 1, β 2 to 8 by the pair of networks, T 4; the warm-up raises the weight
linearly over whole epochs counted from 1, as in the authors' code: 1/20 in the first epoch, 1 in the twentieth.
Both parts are computed from the log-odds of the target, where the authors' code takes the log of a summed softmax
(infinite or NaN for large logits) and masks the target by −1000.
`standardize` z-scores both logits first (Sun et al., CVPR 2024), as in `kd`.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from raykd.contract import Step
from raykd.fields import NonNegative, Positive
from raykd.losses import full_precision, kl_divergence, warm_up
from raykd.losses import standardize as z_score
from raykd.methods.base.logit_method import LogitConfig, LogitMethod
from raykd.methods.base.peers import scalar_note


def split_target(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [B, C] → those of the labels [B, 1] and those of the other classes [B, C − 1]."""
    others = torch.arange(1, logits.shape[1], device=labels.device)
    others = (labels.unsqueeze(1) + others) % logits.shape[1]
    return logits.gather(1, labels.unsqueeze(1)), logits.gather(1, others)


def dkd_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float | Tensor, alpha: float, beta: float
) -> dict[str, Tensor]:
    """Weighted terms "tckd", "nckd" of each sample, [B], T² included; logits [B, C], labels [B] int64."""
    target_s, others_s = split_target(full_precision(student) / temperature, labels)
    target_t, others_t = split_target(full_precision(teacher) / temperature, labels)
    odds_s = (target_s - others_s.logsumexp(1, keepdim=True)).squeeze(1)
    odds_t = (target_t - others_t.logsumexp(1, keepdim=True)).squeeze(1)
    yes = odds_t.sigmoid() * (F.logsigmoid(odds_t) - F.logsigmoid(odds_s))
    no = (-odds_t).sigmoid() * (F.logsigmoid(-odds_t) - F.logsigmoid(-odds_s))
    scale = temperature**2
    among = kl_divergence(others_s, others_t, reduction="none")
    return {"tckd": alpha * scale * (yes + no), "nckd": beta * scale * among}


class DKD(LogitMethod):
    """Weights the divergence of the target class and that among the other classes separately."""

    @dataclass(frozen=True, kw_only=True)
    class Config(LogitConfig):
        kind = "logits"
        hard_labels: ClassVar[bool] = True

        gamma: NonNegative = 1.0
        """Weight of the cross-entropy with the labels."""
        alpha: NonNegative = 1.0
        """Weight of the divergence of target against non-target."""
        beta: NonNegative = 8.0
        """Weight of the divergence among the non-target classes (published: 8 for resnet32x4 → resnet8x4)."""
        temperature: Positive = 4.0
        """Temperature T of all softmaxes."""
        warm_up_epochs: NonNegative = 20.0
        """Epochs over which the weight of both divergences rises linearly to 1; 0: at once."""
        standardize: bool = False
        """Z-score teacher's and student's logits per sample before the divergences (Sun et al. 2024: T 2)."""

    config: Config

    def divergence(
        self, student: Tensor, teacher: Tensor, labels: Tensor, temperature: float | Tensor
    ) -> dict[str, Tensor]:
        c = self.config
        if c.standardize:
            student, teacher = z_score(student), z_score(teacher)
        return dkd_loss(student, teacher, labels, temperature, c.alpha, c.beta)

    def weighted(self, terms: dict[str, Tensor], logits: Tensor, labels: Tensor, epoch: float) -> Step:
        weight = warm_up(epoch, self.config.warm_up_epochs)
        step = super().weighted({name: weight * term for name, term in terms.items()}, logits, labels, epoch)
        return step._replace(notes={"kd_weight": scalar_note(weight, logits)})
