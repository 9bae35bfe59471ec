"""Knowledge Distillation with the Reused Teacher Classifier (Chen et al., CVPR 2022).

SimKD: a projector maps the student's last features to the teacher's, and the network that is evaluated and deployed
predicts with the teacher's own head: β MSE(projector(student's map), teacher's map), and nothing else: no labels, no
KL. If the teacher's map is larger, it is average-pooled to the student's size. The published factor is 2.
The student's own head is neither trained (in a sum, another method may train it) nor deployed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from raykd.contract import Batch, Output, Step
from raykd.fields import NonNegative, PositiveInt
from raykd.losses import full_precision
from raykd.methods.base.maps import pool_like
from raykd.methods.base.student import SingleStudent, StudentConfig
from raykd.models.reused_head import ReusedHead, expect_chains, projector
from raykd.models.staged import Staged


def simkd_loss(projected: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of maps [B, D, h, w]; a larger map of the teacher is first average-pooled."""
    if teacher.shape[2] > projected.shape[2]:
        teacher = pool_like(teacher, projected)
    return F.mse_loss(full_precision(projected), full_precision(teacher))


class SimKD(SingleStudent):
    """Matches the teacher's last map through a projector, and deploys the student with the teacher's head.

    Raises UserError unless both networks are chains of stages that end with a feature map.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(StudentConfig):
        kind = "features"
        reads_labels = False

        beta: NonNegative = 1.0
        """Weight of the features' distance."""
        factor: PositiveInt = 2
        """Factor by which the projector's inner convolutions are narrower than the teacher's map."""

    config: Config

    def __init__(self, config: Config, student: Staged, teachers: Sequence[Staged]):
        super().__init__(config, student, teachers)
        expect_chains(student, teachers[0])
        self.teachers = tuple(teachers)  # a tuple registers nothing: the head is read, not trained
        self.student_features = (student.last_stage,)
        self.teacher_features = ((teachers[0].last_stage,),)
        shapes = student.shapes[student.last_stage], teachers[0].shapes[teachers[0].last_stage]
        self.projector = projector(*shapes, config.factor)

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        projected = self.projector(student.features[self.student_features[0]])
        distance = simkd_loss(projected, teachers[0].features[self.teacher_features[0][0]])
        return Step({"feature": self.config.beta * distance}, {})

    def networks(self) -> dict[str, nn.Module]:
        """Built at every call, as converting BatchNorm to SyncBatchNorm replaces modules."""
        whole = ReusedHead(self.student, self.projector, self.teachers[0], self.config.factor)
        return {"student": whole.train(self.training)}
