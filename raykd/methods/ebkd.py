"""Adaptive Knowledge Distillation Based on Entropy (Kwon et al., ICASSP 2020).

EBKD, as CA-MKD compares it: teachers are weighted per sample by the entropy of their predictions,
w_k = 1 − H_k / Σ_j H_j, with H the entropy at temperature 1; the loss is Σ_b Σ_k w_kb KL_kb / (B K).
Deviation: a class of probability 0 adds 0 to the entropy, where CA-MKD's code gives NaN; if all teachers are certain
(all entropies 0), the weights are equal.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from raykd.losses import entropy
from raykd.methods.base.multi_teacher import Features, MultiTeacher, MultiTeacherConfig, Weighting


def entropy_weights(teachers: Tensor) -> Tensor:
    """Weights [K, B] of teachers' logits [K, B, C]; they sum to K − 1 per sample, as in CA-MKD's code."""
    uncertainty = entropy(teachers)
    total = uncertainty.sum(0)
    certain = total <= 0
    share = uncertainty / torch.where(certain, 1.0, total)
    return 1 - torch.where(certain, 1 / len(teachers), share)


@dataclass(frozen=True, kw_only=True)
class Entropy(Weighting):
    """EBKD's weights: the smaller the entropy of a teacher's prediction, the larger its weight for that sample."""

    fewest: ClassVar[int] = 2

    def weights(self, student: Tensor, teachers: Tensor, labels: Tensor, temperature: float) -> Tensor:
        return entropy_weights(teachers) / len(teachers)


class EBKD(MultiTeacher):
    """Learns from several teachers, weighted for each sample by how certain they are."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MultiTeacherConfig):
        def rules(self) -> tuple[Weighting, Features]:
            return Entropy(), Features()
