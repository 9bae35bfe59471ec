"""DIST: Knowledge Distillation from A Stronger Teacher (Huang et al., NeurIPS 2022).

CE + β (1 − Pearson correlation of a sample's probabilities) + γ (1 − that of a class's probabilities over the batch),
both times T², as in the authors' code. β = γ = 1 and T = 1 on ImageNet; β = γ = 2 and T = 4 on CIFAR-100.
The correlation over the batch is that over the global batch: its sums are taken over all workers, and its gradients are
those of the global value. Deviation: a vector without variation correlates with nothing, its correlation is 0 and has
no gradient, where the authors' code divides rounding noise by 1e-8.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from raykd.contract import Batch, Output, Step, global_sum
from raykd.fields import NonNegative, Positive
from raykd.losses import cross_entropy, full_precision
from raykd.methods.base.student import SingleStudent, StudentConfig

EPS = 1e-8  # added to the product of the norms, as in the authors' code


def correlation(xy: Tensor, xx: Tensor, yy: Tensor) -> Tensor:
    """Pearson's correlation from sums of products of centred values, any one shape; 0 if a vector is constant.

    A centred vector no longer than the rounding of 1 counts as constant.
    """
    rounding = torch.finfo(xx.dtype).eps
    varies = (xx > rounding**2) & (yy > rounding**2)
    lengths = torch.where(varies, xx, 1.0).sqrt() * torch.where(varies, yy, 1.0).sqrt() + EPS
    return torch.where(varies, xy / lengths, 0.0)


def per_sample(p: Tensor, q: Tensor) -> Tensor:
    """1 − the mean over samples of the correlation over classes; probabilities [B, C]."""
    p, q = p - p.mean(1, keepdim=True), q - q.mean(1, keepdim=True)
    return 1 - correlation((p * q).sum(1), p.square().sum(1), q.square().sum(1)).mean()


def per_class(p: Tensor, q: Tensor) -> Tensor:
    """1 − the mean over classes of the correlation over the global batch; this worker's probabilities [B, C].

    The value is the global one on every worker; the gradient is scaled like that of a local mean.
    """
    count = global_sum(torch.full((), float(len(p)), dtype=p.dtype, device=p.device))
    # The centred sums don't change with the means to first order, so the means need no gradient.
    p, q = p - global_sum(p.sum(0)) / count, q - global_sum(q.sum(0)) / count
    local = torch.stack([(p * q).sum(0), p.square().sum(0), q.square().sum(0)])
    everywhere = global_sum(local) + (local - local.detach()) * (count / len(p))
    return 1 - correlation(*everywhere).mean()


def dist_loss(student: Tensor, teacher: Tensor, temperature: float, beta: float, gamma: float) -> dict[str, Tensor]:
    """Weighted terms "inter" (per sample), "intra" (per class over the batch), T² included; logits [B, C]."""
    p = F.softmax(full_precision(student) / temperature, dim=1)
    q = F.softmax(full_precision(teacher) / temperature, dim=1)
    scale = temperature**2
    return {"inter": beta * scale * per_sample(p, q), "intra": gamma * scale * per_class(p, q)}


class DIST(SingleStudent):
    """Correlates probabilities with the teacher's, over the classes of a sample and over the samples of a class."""

    @dataclass(frozen=True, kw_only=True)
    class Config(StudentConfig):
        kind = "logits"
        compares_images = True
        label_weight = "alpha"

        alpha: NonNegative = 1.0
        """Weight of the cross-entropy with the labels."""
        beta: NonNegative = 1.0
        """Weight of the relation between the classes of a sample."""
        gamma: NonNegative = 1.0
        """Weight of the relation between the samples of a class."""
        temperature: Positive = 1.0
        """Temperature T of both softmaxes."""

    config: Config

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        c = self.config
        terms = dist_loss(student.logits, teachers[0].logits, c.temperature, c.beta, c.gamma)
        return Step({"ce": c.alpha * cross_entropy(student.logits, batch.labels)} | terms, {})
