"""Correlation Congruence for Knowledge Distillation (Peng et al., ICCV 2019).

CC as in RepDistiller: γ CE + β · the mean over neighbouring samples b, b + 1 of Σ_d |δ_b,d δ_b+1,d|, where δ is the
difference of linear embeddings of both networks' pooled vectors (both embeddings are trained); β = 0.02, 128
dimensions. The paper compares the kernel matrices of the whole batch; RepDistiller, which the published figures come
from, compares neighbours only. Neighbours are those in the global batch.
Deviation: for a batch of one sample, which has no neighbours, the distance is 0 instead of RepDistiller's NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from raykd.contract import Batch, Output, global_rows
from raykd.fields import NonNegative, PositiveInt
from raykd.losses import full_precision
from raykd.methods.base.feature_method import FeatureConfig, FeatureMethod
from raykd.models.staged import Staged


def cc_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over neighbouring samples of Σ_d |δ_b δ_b+1|, δ = student − teacher, both [B, D]; 0 for one sample."""
    gap = (full_precision(student) - full_precision(teacher)).abs()
    return (gap[:-1] * gap[1:]).sum() / max(1, len(gap) - 1)


class CC(FeatureMethod):
    """Matches how samples of a batch are related, by the differences of embedded pooled features."""

    reads, term = "pooled", "correlation"

    @dataclass(frozen=True, kw_only=True)
    class Config(FeatureConfig):
        kind = "relations"
        compares_images = True

        beta: NonNegative = 0.02
        """Weight of the correlation of neighbouring samples' differences."""
        dimensions: PositiveInt = 128
        """Dimensions of the embeddings."""

    def __init__(self, config: Config, student: Staged, teacher: Staged):
        super().__init__(config, student, teacher)
        self.student_embedding = nn.Linear(student.width("pooled"), config.dimensions)
        self.teacher_embedding = nn.Linear(teacher.width("pooled"), config.dimensions)

    def distance(self, student: Output, batch: Batch, teachers: Sequence[Output]) -> Tensor:
        ((s, t),) = self.pairs(student, teachers)
        embedded = full_precision(self.student_embedding(s)), full_precision(self.teacher_embedding(t))
        return cc_loss(*(global_rows(x, batch.shares) for x in embedded))
