"""Knowledge Distillation via Softmax Regression Representation Learning (Yang et al., ICLR 2021).

SRRL: a 1×1 convolution, BN and ReLU bring the student's last features to the teacher's width; the loss is
γ CE + α MSE of their means + β MSE(the teacher's frozen head on the student's, the teacher's logits).
The authors' code (ImageNet, α = β = 1, no KL) regresses maps and compares their spatial means. SimKD's comparison
regresses the pooled vectors (`pooled`), and adds KL at T 4 (add `kd` by a `sum`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from raykd.contract import Batch, Output, Step
from raykd.fields import NonNegative
from raykd.losses import cross_entropy, full_precision
from raykd.methods.base.head import apply_head, expect_mean_pooling
from raykd.methods.base.maps import conv_bn
from raykd.methods.base.student import SingleStudent, StudentConfig
from raykd.models.staged import Staged


def srrl_loss(regressed: Tensor, teacher: Tensor, projected: Tensor, logits: Tensor) -> dict[str, Tensor]:
    """Means of squares "feature" and "logit": pooled vectors [B, D] of student and teacher, and logits [B, C].

    projected: the teacher's head's logits for `regressed`, [B, C].
    """
    feature = F.mse_loss(full_precision(regressed), full_precision(teacher))
    return {"feature": feature, "logit": F.mse_loss(full_precision(projected), full_precision(logits))}


def regressor(width: int, out: int) -> nn.Sequential:
    """A 1×1 convolution with BatchNorm and ReLU: maps [B, width, h, w] → [B, out, h, w]."""
    return nn.Sequential(*conv_bn(width, out), nn.ReLU())


class SRRL(SingleStudent):
    """Matches the teacher's pooled features, and the logits that the teacher's own head computes from them."""

    @dataclass(frozen=True, kw_only=True)
    class Config(StudentConfig):
        kind = "features"
        label_weight = "gamma"

        gamma: NonNegative = 1.0
        """Weight of the cross-entropy with the labels."""
        alpha: NonNegative = 1.0
        """Weight of the features' distance."""
        beta: NonNegative = 1.0
        """Weight of the distance between the teacher's logits and its head's logits for the student's features."""
        pooled: bool = False
        """True: regress the pooled vector, as SimKD's code does; False: the map, as the authors do."""

    config: Config

    def __init__(self, config: Config, student: Staged, teachers: Sequence[Staged]):
        super().__init__(config, student, teachers)
        expect_mean_pooling("srrl", teachers[0])
        self.teachers = tuple(teachers)  # a tuple registers nothing: their heads are read, not trained
        self.student_features = ("pooled" if config.pooled else student.last_stage,)
        self.teacher_features = (("pooled",),)
        self.regressor = regressor(student.width(self.student_features[0]), teachers[0].width("pooled"))

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        c, features = self.config, student.features[self.student_features[0]]
        regressed = self.regressor(features[:, :, None, None] if c.pooled else features).mean((2, 3))
        projected = apply_head(self.teachers[0], regressed)
        terms = srrl_loss(regressed, teachers[0].features["pooled"], projected, teachers[0].logits)
        ce = c.gamma * cross_entropy(student.logits, batch.labels)
        return Step({"ce": ce, "feature": c.alpha * terms["feature"], "logit": c.beta * terms["logit"]}, {})
