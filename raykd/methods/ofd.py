"""A Comprehensive Overhaul of Feature Distillation (Heo et al., ICCV 2019).

OFD: the maps of every stage before its last activation, the student's through a 1×1 convolution and BN, compared by a
partial L2 distance: where the teacher is negative, the student only has to be negative too, up to a margin. γ CE + β ·
Σ over stages, the last one with weight 1, each one before it with half the next one's, of a sum over the map and a
batch mean. The margin is each channel's mean of the teacher's negative values. The paper takes it from training or
computes it from the BatchNorm before; here it is that of the global batch, as a frozen teacher's norms are folded and a
residual stage ends in a sum. Deviations from mdistiller: its computed margins, and that it puts the teacher into
training mode.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raykd.contract import Batch, Output, global_sum
from raykd.fields import NonNegative
from raykd.losses import full_precision
from raykd.methods.base.feature_method import FeatureConfig, FeatureMethod
from raykd.methods.base.maps import conv_bn, resize
from raykd.models.staged import Staged


def partial_distance(student: Tensor, teacher: Tensor, margin: Tensor) -> Tensor:
    """Squared difference from the target max(teacher, margin), summed over the map, a batch mean.

    It is 0 where the teacher is not positive and the student is below the target. Maps are [B, D, h, w], margin is
    [1, D, 1, 1] and at most 0.
    """
    student, teacher = full_precision(student), full_precision(teacher)
    target = torch.maximum(teacher, margin.to(teacher.dtype))
    counts = (teacher > 0) | (student > target)
    return torch.where(counts, student - target, 0.0).square().sum() / len(student)


@torch.no_grad()
def negative_mean(teacher: Tensor) -> Tensor:
    """Each channel's mean of the negative values over the global batch, 0 where there are none: → [1, D, 1, 1]."""
    teacher = full_precision(teacher)
    sums = torch.stack([teacher.clamp(max=0).sum((0, 2, 3)), (teacher < 0).to(teacher.dtype).sum((0, 2, 3))])
    total, count = global_sum(sums).unbind()
    return (total / count.clamp(min=1)).view(1, -1, 1, 1)


class OFD(FeatureMethod):
    """Matches the maps before the activation, up to a margin where the teacher's are negative."""

    reads, term = "stages before the activation", "feature"

    @dataclass(frozen=True, kw_only=True)
    class Config(FeatureConfig):
        kind = "features"

        beta: NonNegative = 1e-3
        """Weight of the distance, which is a sum over the maps."""

    config: Config

    def __init__(self, config: Config, student: Staged, teacher: Staged):
        super().__init__(config, student, teacher)
        pairs = zip(self.student_features, self.teacher_features[0], strict=True)
        self.connectors = nn.ModuleList(nn.Sequential(*conv_bn(student.width(s), teacher.width(t))) for s, t in pairs)

    def distance(self, student: Output, batch: Batch, teachers: Sequence[Output]) -> Tensor:
        distances = [
            partial_distance(connect(resize(s, t.shape[2:])), t, negative_mean(t))
            for connect, (s, t) in zip(self.connectors, self.pairs(student, teachers), strict=True)
        ]
        return torch.stack([distance * 0.5**i for i, distance in enumerate(reversed(distances))]).sum()
