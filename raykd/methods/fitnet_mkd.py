"""FitNets (Romero et al., ICLR 2015) with several teachers, as CA-MKD (Zhang, Chen, Wang, ICASSP 2022) compares it.

AVER-MKD plus β · mean over teachers of the mean squared error between a regression of the student's map and the
teacher's, at one stage. Deviation: the original's code detaches the mean of the hints, so that they train nothing;
here they do. Any ratio of map sizes works, where the original knows 2, 1/2, 1/4 and student maps that are larger.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raykd.contract import Batch, Output, Step, expect_teachers
from raykd.losses import cross_entropy, map_distance
from raykd.method import MethodConfig
from raykd.methods.aver_mkd import aver_mkd_loss
from raykd.methods.student import SingleStudent, expect_positive, expect_same_classes, expect_stage, stack_teachers
from raykd.models.staged import Staged


def hint_loss(regressed: Sequence[Tensor], maps: Sequence[Tensor]) -> Tensor:
    """Mean over teachers of the mean squared error; regressed[k] and maps[k] [B, D_k, h_k, w_k]."""
    errors = [map_distance(r, m) for r, m in zip(regressed, maps, strict=True)]
    return torch.stack(errors).mean()


class Regressor(nn.Module):
    """One convolution, BN and ReLU from a student's map to a teacher's shape (D, h, w)."""

    def __init__(self, student: tuple[int, ...], teacher: tuple[int, ...]):
        super().__init__()
        (narrow, height, width), (wide, *self.size) = student, teacher
        self.enlarge = False
        if height == 2 * self.size[0]:
            self.conv = nn.Conv2d(narrow, wide, 3, stride=2, padding=1)
        elif 2 * height == self.size[0]:
            self.conv = nn.ConvTranspose2d(narrow, wide, 4, stride=2, padding=1)
        elif height >= self.size[0]:
            self.conv = nn.Conv2d(narrow, wide, (1 + height - self.size[0], 1 + width - self.size[1]))
        else:
            self.enlarge = True
            self.conv = nn.Conv2d(narrow, wide, 3, padding=1)
        self.norm = nn.BatchNorm2d(wide)

    def forward(self, x: Tensor) -> Tensor:
        if self.enlarge:
            x = F.interpolate(x, size=self.size, mode="bilinear", align_corners=False)
        return F.relu(self.norm(self.conv(x)))


class FitNetMKD(SingleStudent):
    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        kind = "several teachers"

        gamma: float = 1.0
        """Weight of the cross-entropy with the labels."""
        alpha: float = 1.0
        """Weight of the mean divergence from the teachers (T² is part of it)."""
        beta: float = 100.0
        """Weight of the hints."""
        temperature: float = 4.0
        """Temperature T of both softmaxes."""
        stage: str = "stage2"
        """Stage whose maps are compared, of the student and of every teacher."""

        def build(self, new_student: Callable[[], Staged], teachers: Sequence[Staged]) -> "FitNetMKD":
            expect_teachers("fitnet_mkd", teachers, 1)
            expect_positive("fitnet_mkd", temperature=self.temperature)
            student = new_student()
            expect_same_classes("fitnet_mkd", student, teachers)
            for network in (student, *teachers):
                expect_stage("fitnet_mkd", "stage", self.stage, network)
            return FitNetMKD(self, student, teachers)

    def __init__(self, config: Config, student: Staged, teachers: Sequence[Staged]):
        super().__init__(config, student)
        stage = config.stage
        self.student_features = (stage,)
        self.teacher_features = ((stage,),) * len(teachers)
        self.regressors = nn.ModuleList(Regressor(student.shapes[stage], t.shapes[stage]) for t in teachers)

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        c = self.config
        regressed = [regressor(student.features[c.stage]) for regressor in self.regressors]
        terms = {
            "ce": c.gamma * cross_entropy(student.logits, batch.labels),
            "kd": c.alpha * aver_mkd_loss(student.logits, stack_teachers(teachers), c.temperature),
            "hint": c.beta * hint_loss(regressed, [teacher.features[c.stage] for teacher in teachers]),
        }
        return Step(terms, {})
