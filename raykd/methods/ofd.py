"""A Comprehensive Overhaul of Feature Distillation (Heo, Kim, Yun, Park, Kwak, Choi, ICCV 2019).

OFD: the maps of every stage before its last activation, the student's through a 1×1 convolution and BN, compared by a
partial L2 distance: where the teacher is negative, the student need only be so too, down to a margin. γ CE + β · Σ over
stages, the last one with weight 1, each one before it with half the next one's, of a sum over the map and a batch mean.
The margin is each channel's mean of the teacher's negative values. The paper takes it from training or computes it from
the BatchNorm before; here it is that of the global batch, as a frozen teacher's norms are folded and a residual stage
ends in a sum. Deviations from mdistiller: its computed margins, and that it puts the teacher into training mode.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raykd import UserError
from raykd.contract import Batch, Output, Step, expect_teachers, global_sum
from raykd.fields import NonNegative
from raykd.losses import cross_entropy, full_precision
from raykd.method import MethodConfig
from raykd.methods.base.student import SingleStudent
from raykd.methods.ca_mkd import resize
from raykd.models.staged import Staged


def partial_distance(student: Tensor, teacher: Tensor, margin: Tensor) -> Tensor:
    """Σ over the map, batch mean, of the squared distance to max(teacher, margin), 0 where both lie below it and 0.

    maps [B, D, h, w], margin [1, D, 1, 1], at most 0. A negative target counts only for a student above it.
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


def connector(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out))


class OFD(SingleStudent):
    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        kind = "features"
        compares_classes = False
        label_weight = "gamma"

        gamma: NonNegative = 1.0
        """Weight of the cross-entropy with the labels."""
        beta: NonNegative = 1e-3
        """Weight of the distance, which is a sum over the maps."""

        def build(self, new_student: Callable[[], Staged], teachers: Sequence[Staged]) -> "OFD":
            expect_teachers("ofd", teachers, 1, 1)
            student = new_student()
            if len(student.stages) != len(teachers[0].stages):
                raise UserError(
                    f"ofd compares stage by stage: {student.name} has {len(student.stages)}, "
                    f"the teacher ({teachers[0].name}) {len(teachers[0].stages)}: change one of them"
                )
            return OFD(self, student, teachers)

    config: Config

    def __init__(self, config: Config, student: Staged, teachers: Sequence[Staged]):
        super().__init__(config, student, teachers)
        self.student_features = tuple(f"{stage}.pre" for stage in student.stages)
        self.teacher_features = (tuple(f"{stage}.pre" for stage in teachers[0].stages),)
        pairs = zip(self.student_features, self.teacher_features[0], strict=True)
        # `width` raises UserError where a network has no map before an activation.
        self.connectors = nn.ModuleList(connector(student.width(own), teachers[0].width(its)) for own, its in pairs)

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        maps = [teachers[0].features[name] for name in self.teacher_features[0]]
        own = [student.features[name] for name in self.student_features]
        distances = [
            partial_distance(connect(resize(x, t.shape[2:])), t, negative_mean(t))
            for connect, x, t in zip(self.connectors, own, maps, strict=True)
        ]
        weighted = [distance * 0.5**i for i, distance in enumerate(reversed(distances))]
        terms = {
            "ce": self.config.gamma * cross_entropy(student.logits, batch.labels),
            "feature": self.config.beta * torch.stack(weighted).sum(),
        }
        return Step(terms, {})
