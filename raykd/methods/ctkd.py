"""Curriculum Temperature for Knowledge Distillation (Li et al., AAAI 2023).

The temperature of another method, such as KD or DKD, is trained adversarially to the student: T = lowest + span · σ(θ),
with θ's gradient reversed and scaled by a factor that grows from 0 to 1 over the first epochs, which makes the
student's task harder. This is the paper's global temperature; its instance-wise one, made by a network, is left out.
As in the authors' code, θ starts at 1 and is trained by the student's optimizer, weight decay included. Their DKD's
gradient for θ is NaN (0 · log 0 of the masked target); raykd's DKD has a finite one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raykd import UserError
from raykd.contract import Batch, Output, Step
from raykd.fields import NonNegative, Positive
from raykd.losses import curriculum
from raykd.method import MethodConfig
from raykd.methods.base.logit_method import LogitMethod
from raykd.methods.base.student import SingleStudent
from raykd.methods.cl_ilr import scale_gradient
from raykd.methods.kd import KD
from raykd.models.staged import Staged


def trained_temperature(theta: Tensor, lowest: float, span: float, reversal: float) -> Tensor:
    """lowest + span · σ(theta), all of shape [], whose gradient for theta is −reversal times the true one."""
    return lowest + span * scale_gradient(theta, -reversal).sigmoid()


class CTKD(SingleStudent):
    """Trains the temperature of another method against the student, so that its task becomes harder over the epochs."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        kind = "logits"

        method: MethodConfig = KD.Config(temperature=15.62)
        """The method whose temperature is trained: one of kd, dkd, nkd, wsld. Its temperature is the initial one."""
        lowest: Positive = 1.0
        """Lower bound of the temperature."""
        span: Positive = 20.0
        """Width of the temperature's range above `lowest`."""
        curriculum_epochs: NonNegative = 10.0
        """Epochs over which the scale of the reversed gradient rises to 1 along half a cosine; 0: it is 1 from the
        start."""

        @property
        def hard_labels(self) -> bool:
            return self.method.hard_labels

        @property
        def reads_labels(self) -> bool:
            return self.method.reads_labels

        def build(self, new_student: Callable[[], Staged], teachers: Sequence[Staged]) -> "CTKD":
            method = self.method.build(new_student, teachers)
            if not isinstance(method, LogitMethod):
                raise UserError("`method.method` of ctkd has no temperature to train: use kd, dkd, nkd or wsld")
            start = method.config.temperature
            if not self.lowest < start < self.lowest + self.span:
                raise UserError(
                    f"`method.method.temperature` of ctkd, the initial temperature, must be from {self.lowest:g} to "
                    f"{self.lowest + self.span:g} (`method.lowest`, `method.span`), not {start:g}"
                )
            return CTKD(self, method, teachers)

    config: Config

    def __init__(self, config: Config, method: LogitMethod, teachers: Sequence[Staged]):
        super().__init__(config, method.student, teachers)
        method.borrow_student()
        self.method = method
        share = (method.config.temperature - config.lowest) / config.span
        self.theta = nn.Parameter(torch.logit(torch.full((1,), share, dtype=torch.float64)).float())

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        c, logits = self.config, student.logits
        temperature = trained_temperature(self.theta, c.lowest, c.span, curriculum(epoch, c.curriculum_epochs))
        terms = self.method.divergence(logits, teachers[0].logits, batch.labels, temperature)
        step = self.method.weighted({name: term.mean() for name, term in terms.items()}, logits, batch.labels, epoch)
        return step._replace(notes=step.notes | {"temperature": temperature.detach()})
