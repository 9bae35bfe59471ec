"""Learning Deep Representations with Probabilistic Knowledge Transfer (Passalis & Tefas, ECCV 2018).

PKT: γ CE + β · KL(teacher ‖ student) of each sample's distribution over its neighbours, computed from cosine
similarities of the pooled vectors, mapped to [0, 1]. As in RepDistiller, β = 30000 and the mean is over all B² pairs.
The neighbours are those of the global batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from raykd.contract import Batch, Output, global_rows
from raykd.fields import NonNegative
from raykd.losses import full_precision
from raykd.methods.base.feature_method import FeatureConfig, FeatureMethod

EPSILON = 1e-7  # RepDistiller's, beside lengths and probabilities


def neighbours(features: Tensor) -> Tensor:
    """Each sample's distribution over the batch: [B, D] → [B, B], rows sum to 1."""
    x = full_precision(features)
    length: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    x = x / (length + EPSILON)
    with torch.autocast(x.device.type, enabled=False):  # which would multiply in half precision
        closeness = (x @ x.T + 1) / 2
    return closeness / closeness.sum(1, keepdim=True)


def pkt_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over all pairs of q log(q / p); student (p) and teacher (q) [B, D], of any two widths."""
    p, q = neighbours(student), neighbours(teacher)
    return (q * ((q + EPSILON) / (p + EPSILON)).log()).mean()


class PKT(FeatureMethod):
    """Matches the similarities between the samples of a batch, as probability distributions."""

    reads, term = "pooled", "neighbours"

    @dataclass(frozen=True, kw_only=True)
    class Config(FeatureConfig):
        kind = "relations"
        compares_images = True

        beta: NonNegative = 30000.0
        """Weight of the divergence of the neighbours' distributions."""

    def distance(self, student: Output, batch: Batch, teachers: Sequence[Output]) -> Tensor:
        ((s, t),) = self.pairs(student, teachers)
        return pkt_loss(global_rows(s, batch.shares), global_rows(t, batch.shares))
