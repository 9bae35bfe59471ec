"""Knowledge Transfer via Distillation of Activation Boundaries Formed by Hidden Neurons (Heo et al., AAAI 2019).

AB: in the recipe's `initialise` phase, β · Σ over stages, later ones twice as much each, of a squared hinge that moves
the student's neurons to the side of 0 on which the teacher's are, with a margin; then γ CE alone. Maps are
those before the stages' last activations; where the shapes differ, a connector (convolution and BN, which trains)
brings the student's to the teacher's. Sums over neurons, means over samples, times 3 / 1000, margin 2 and 30 epochs,
as RepDistiller has it.
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

SCALE = 3 / 1000  # of the sum over neurons, as RepDistiller has it


def boundary_loss(student: Tensor, teacher: Tensor, margin: float) -> Tensor:
    """Sum over neurons, mean over samples, of the squared hinge; both are maps before the activation, [B, D, h, w]."""
    student, teacher = full_precision(student), full_precision(teacher)
    too_high = (student > -margin) & (teacher <= 0)
    too_low = (student <= margin) & (teacher > 0)
    hinge = torch.where(too_high, student + margin, torch.where(too_low, student - margin, 0.0))
    return hinge.square().sum() / len(student)


def ab_loss(student: Sequence[Tensor], teacher: Sequence[Tensor], margin: float) -> Tensor:
    """3 / 1000 of the sum over stages, maps [B, D, h, w] each.

    The last stage has weight 1, each one before it half the weight of the next.
    """
    stages = zip(reversed(student), reversed(teacher), strict=True)
    return SCALE * total(0.5**i * boundary_loss(s, t, margin) for i, (s, t) in enumerate(stages))


class Connector(Regressor):
    """A regressor without its last ReLU: maps before the activation have both signs."""

    def forward(self, x: Tensor) -> Tensor:
        return self.before_activation(x)


class AB(FeatureMethod):
    reads, term = "stages before the activation", "boundary"

    @dataclass(frozen=True, kw_only=True)
    class Config(FeatureConfig):
        kind = "features"
        initialises = True

        beta: NonNegative = 1.0
        """Weight of the activation boundaries' distance, in the initialise phase."""
        margin: Positive = 2.0
        """Distance from 0 that the student's neurons are moved to."""

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
    """What brings a map of shape (D, h, w) to the teacher's."""
    return nn.Identity() if student == teacher else Connector(student, teacher)
