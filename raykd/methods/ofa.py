"""One-for-All: Bridge the Gap Between Heterogeneous Architectures in Knowledge Distillation (Hao et al., NeurIPS 2023).

OFA-KD: every stage of the student has an exit, a classifier of its features; exits and logits learn from the
teacher's logits alone, so that the architectures may differ: γ CE + α · loss(logits) + β · Σ over stages loss(exit).
The loss is the adapted one, −Σ_c ((p_t(c) + [c = y])^ε − [c = y]) log p_s(c); ε = 1 is the cross-entropy with the
teacher. The exits train and are not deployed. The published ε is 1 on CIFAR-100, 1.5 on ImageNet.
A label that is shared between classes counts as its largest class, as in the authors' code, whose log of a softmax is
−∞ for large logits in float32; this one is finite. Not implemented: their exits for transformers and MLPs, whose
features are not maps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raykd import UserError
from raykd.contract import Batch, Output, Step
from raykd.fields import NonNegative, Positive
from raykd.losses import cross_entropy, full_precision
from raykd.methods.base.student import SingleStudent, StudentConfig
from raykd.models.staged import Staged


def ofa_loss(student: Tensor, teacher: Tensor, labels: Tensor, epsilon: float, temperature: float = 1.0) -> Tensor:
    """−Σ_c ((p_t + [c = y])^ε − [c = y]) log p_s, a batch mean; logits [B, C], labels [B] or [B, C]."""
    if labels.is_floating_point():
        labels = labels.argmax(1)
    p = F.softmax(full_precision(teacher) / temperature, dim=1)
    log_q = F.log_softmax(full_precision(student) / temperature, dim=1)
    label = F.one_hot(labels, p.shape[1]).to(p.dtype)
    return -(((p + label) ** epsilon - label) * log_q).sum(1).mean()


def separable(width: int, out: int) -> nn.Sequential:
    """Two depthwise 3×3 convolutions, the first with stride 2, each followed by a 1×1 convolution, BN and ReLU."""
    return nn.Sequential(
        nn.Conv2d(width, width, 3, stride=2, padding=1, groups=width, bias=False),
        nn.Conv2d(width, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
        nn.Conv2d(width, out, 1, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(),
    )


def exit_of(widths: Sequence[int], width: int, classes: int) -> nn.Sequential:
    """From the map of a stage [B, widths[0], h, w] to logits [B, classes]; widths: of that stage and of those after it.

    A separable downsampling for each stage that follows, the last to `width` channels; after the last stage a 1×1
    convolution to `width`.
    """
    outs = [*widths[1:-1], width]
    if len(widths) == 1:
        parts: list[nn.Module] = [nn.Conv2d(widths[0], width, 1)]
    else:
        parts = [separable(narrow, wide) for narrow, wide in zip(widths, outs, strict=False)]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


class OFA(SingleStudent):
    """Every stage of the student learns the teacher's logits through an exit of its own.

    Raises UserError for a student whose stages output no maps.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(StudentConfig):
        kind = "logits"

        gamma: NonNegative = 1.0
        """Weight of the cross-entropy with the labels."""
        alpha: NonNegative = 1.0
        """Weight of the adapted loss of the logits."""
        beta: NonNegative = 1.0
        """Weight of the sum of the exits' adapted losses."""
        epsilon: Positive = 1.0
        """Power ε of the adapted loss; above 1 the label's class counts more: 1 on CIFAR-100, 1.5 on ImageNet."""
        temperature: Positive = 1.0
        """Temperature of all softmaxes."""

    config: Config

    def __init__(self, config: Config, student: Staged, teachers: Sequence[Staged]):
        super().__init__(config, student, teachers)
        if any(len(student.shapes[stage]) != 3 for stage in student.stages):
            raise UserError(f"ofa requires a student whose stages output maps [D, h, w]; those of {student.name} don't")
        self.student_features = student.stages
        widths = [student.width(stage) for stage in student.stages]
        width = max(student.width("pooled"), teachers[0].width("pooled"))
        self.exits = nn.ModuleList(exit_of(widths[i:], width, student.num_classes) for i in range(len(widths)))

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        c, target = self.config, teachers[0].logits
        exits = [exit_(student.features[stage]) for exit_, stage in zip(self.exits, self.student_features, strict=True)]
        losses = [ofa_loss(z, target, batch.labels, c.epsilon, c.temperature) for z in (student.logits, *exits)]
        terms = {
            "ce": c.gamma * cross_entropy(student.logits, batch.labels),
            "kd": c.alpha * losses[0],
            "exits": c.beta * torch.stack(losses[1:]).sum(),
        }
        return Step(terms, {})
