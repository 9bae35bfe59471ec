"""Knowledge Transfer via Distillation of Activation Boundaries Formed by Hidden Neurons (Heo et al., AAAI 2019).

AB: in the recipe's `initialise` phase, β · Σ over stages of a squared hinge that moves the student's neurons to the
teacher's side of 0, with a margin; each stage has twice the weight of the one before it. Afterwards γ CE alone. Maps
are those before the stages' last activations; if shapes differ, a connector (convolution and BN, which is trained)
converts the student's map to the teacher's shape. As in RepDistiller: sums over neurons, means over samples, a factor
of 3 / 1000, margin 2, 30 epochs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raykd.contract import Batch, Output, Step
from raykd.fields import NonNegative, Positive
from raykd.losses import cross_entropy, full_precision, total
from raykd.methods.base.feature_method import FeatureConfig, FeatureMethod
from raykd.methods.fitnet_mkd import Regressor
from raykd.models.staged import Staged

SCALE = 3 / 1000  # of the sum over neurons, as in RepDistiller


def boundary_loss(student: Tensor, teacher: Tensor, margin: float) -> Tensor:
    """Sum over neurons, mean over samples, of the squared hinge; both are maps before the activation, [B, D, h, w]."""
    student, teacher = full_precision(student), full_precision(teacher)
    too_high = (student > -margin) & (teacher <= 0)
    too_low = (student <= margin) & (teacher > 0)
    hinge = torch.where(too_high, student + margin, torch.where(too_low, student - margin, 0.0))
    return hinge.square().sum() / len(student)


def ab_loss(student: Sequence[Tensor], teacher: Sequence[Tensor], margin: float) -> Tensor:
    """3 / 1000 of the weighted sum of `boundary_loss` over stages, maps [B, D, h, w] each.

    The last stage has weight 1, each one before it half the weight of the next.
    """
    stages = zip(reversed(student), reversed(teacher), strict=True)
    return SCALE * total(0.5**i * boundary_loss(s, t, margin) for i, (s, t) in enumerate(stages))


class Connector(Regressor):
    """A regressor without its last ReLU: maps before the activation have both signs."""

    def forward(self, x: Tensor) -> Tensor:
        return self.before_activation(x)


class AB(FeatureMethod):
    """Learns before the training on which side of 0 the teacher's neurons are, then trains by labels alone."""

    reads, term = "stages before the activation", "boundary"

    @dataclass(frozen=True, kw_only=True)
    class Config(FeatureConfig):
        kind = "features"
        initialises = True

        beta: NonNegative = 1.0
        """Weight of the activation boundaries' distance, in the initialise phase."""
        margin: Positive = 2.0
        """Margin of the hinge: the student's neurons are moved at least this far from 0."""

    config: Config

    def __init__(self, config: Config, student: Staged, teacher: Staged):
        super().__init__(config, student, teacher)
        pairs = zip(self.student_features, self.teacher_features[0], strict=True)
        self.connectors = nn.ModuleList(connector(student.shapes[s], teacher.shapes[t]) for s, t in pairs)

    @property
    def needs_teachers(self) -> bool:
        return self.initialising

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        c = self.config
        if not self.initialising:
            return Step({"ce": c.gamma * cross_entropy(student.logits, batch.labels)}, {})
        s, t = zip(*self.pairs(student, teachers), strict=True)
        connected = [connect(x) for connect, x in zip(self.connectors, s, strict=True)]
        return Step({"boundary": c.beta * ab_loss(connected, t, c.margin)}, {})


def connector(student: tuple[int, ...], teacher: tuple[int, ...]) -> nn.Module:
    """The module that converts a student's map to the teacher's shape, both (D, h, w)."""
    return nn.Identity() if student == teacher else Connector(student, teacher)
