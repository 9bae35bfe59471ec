"""TESKD: Student Helping Teacher: Teacher Evolution via Self-Knowledge Distillation (Li et al. 2021, arXiv 2110.00329).

The teacher is a backbone of four stages, which is deployed; three student sub-networks that read its stages top-down (a
feature pyramid) help it. The loss is ce · Σ w CE + kd · Σ T² KL(backbone ‖ student_i) + feature · a masked squared
distance of pooled features; the backbone's logits are not detached (that is how the students help it), its features
are. The feature term is a sum over the batch: over the global batch, however many workers and parts share it.
Deviations: the students start from torch's initialisation with every backbone; the authors' VGG and ResNeXt files draw
theirs from N(0, 2 / fan_out). The authors' code adds 1e-7 to the target's probabilities; this KL is clean.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raykd import UserError
from raykd.contract import Batch, Distiller, Output, Step, expect_teachers
from raykd.fields import NonNegative, NonNegativeInt, Positive
from raykd.losses import cross_entropy, full_precision
from raykd.method import MethodConfig
from raykd.methods.base.peers import peer_divergence
from raykd.methods.base.student import accuracy
from raykd.models.staged import Staged

SMALLEST = 2  # pixels of a student's last map where the backbone's own is smaller


def teskd_loss(
    backbone: Tensor,
    students: Tensor,
    backbone_feature: Tensor,
    student_features: Tensor,
    labels: Tensor,
    temperature: float,
    weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
) -> dict[str, Tensor]:
    """The sums "ce", "kd" (batch means, summed over the networks), "feature" (summed over the batch too).

    backbone [B, C], students [3, B, C], backbone_feature [B, d], student_features [3, B, d], labels [B] or [B, C].
    weights: of the cross-entropies of the backbone and of each student.
    A dimension counts in "feature" where the student's or the backbone's value is above 0.
    """
    students = full_precision(students)
    target = full_precision(backbone)
    features, goal = full_precision(student_features), full_precision(backbone_feature).detach()
    active = (features > 0) | (goal > 0)
    entropies = [w * cross_entropy(logits, labels) for w, logits in zip(weights, [target, *students], strict=True)]
    return {
        "ce": torch.stack(entropies).sum(),
        "kd": peer_divergence(students, target.expand_as(students), temperature),
        "feature": torch.where(active, (features - goal).square(), 0.0).sum(),
    }


def unit(inside: int, outside: int, kernel: int = 1, bias: bool = False) -> nn.Sequential:
    """Convolution k×k of stride k, BN, ReLU."""
    conv = nn.Conv2d(inside, outside, kernel, stride=kernel, bias=bias)
    return nn.Sequential(conv, nn.BatchNorm2d(outside), nn.ReLU())


def head_kernels(shapes: Sequence[tuple[int, ...]]) -> list[int]:
    """Kernels and strides of the heads of the students that end at stage 1, 2, 3, from the four stages' (D, h, w).

    Each brings its map to the height of the last one, which counts as 2 where it is smaller: 8, 4, 2 for ResNets,
    4, 2, 1 for VGG, as the authors have them.
    """
    last = max(min(shapes[-1][1:]), SMALLEST)
    return [max(min(shape[1:]) // last, 1) for shape in shapes[:3]]


class Pyramid(nn.Module):
    """Three student sub-networks on the four stages of a backbone: maps, first stage first → logits and features.

    Lists run from student 1, which reads down to stage 1, to student 3.
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], num_classes: int):
        """shapes: (D, h, w) of the backbone's four maps."""
        super().__init__()
        widths, d = [shape[0] for shape in shapes], shapes[-1][0]
        self.laterals = nn.ModuleList(unit(width, d) for width in widths)
        self.upsample = nn.ModuleList(unit(d, d) for _ in range(3))
        self.fuse = nn.ModuleList(unit(2 * d, d) for _ in range(3))
        self.heads = nn.ModuleList(
            nn.Sequential(*unit(d, d, kernel, bias=True), *unit(d, d, bias=True)) for kernel in head_kernels(shapes)
        )
        self.classifiers = nn.ModuleList(nn.Linear(d, num_classes) for _ in range(3))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits [3, B, C] and pooled features [3, B, d]."""
        logits: list[Tensor] = []
        features: list[Tensor] = []
        top = self.laterals[3](maps[3])
        for i in (2, 1, 0):
            side = self.laterals[i](maps[i])
            top = F.interpolate(top, size=side.shape[2:], mode="bilinear", align_corners=True)
            top = self.upsample[i](top)
            top = self.fuse[i](torch.cat([top + side, top], dim=1))
            features.insert(0, self.heads[i](top).mean((2, 3)))
            logits.insert(0, self.classifiers[i](features[0]))
        return torch.stack(logits), torch.stack(features)


class TESKD(Distiller):
    """Trains a backbone together with sub-networks that read its stages and learn from its logits."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        kind = "self"
        uses_teachers: ClassVar[bool] = False

        ce: NonNegative = 0.2
        """Weight of the cross-entropies of backbone and students."""
        kd: NonNegative = 0.8
        """Weight of the students' divergences from the backbone (T² is part of them)."""
        feature: NonNegative = 1e-7
        """Weight of the distances of pooled features, which are summed over the global batch."""
        temperature: Positive = 4.0
        """Temperature T of both softmaxes."""
        backbone_weight: NonNegative = 1.0
        """Weight of the backbone's cross-entropy among the four."""
        student_weights: tuple[NonNegative, NonNegative, NonNegative] = (1.0, 1.0, 1.0)
        """Weights of the cross-entropies of student 1, which reads down to stage 1, to student 3."""
        batch: NonNegativeInt = 0
        """Images of a global batch, over which distances are summed; 0: the recipe's batch size."""

        def with_batch_size(self, size: int) -> "TESKD.Config":
            return replace(self, batch=self.batch or size)

        def build(self, new_student: Callable[[], Staged], teachers: Sequence[Staged]) -> "TESKD":
            expect_teachers("teskd", teachers, 0, 0)
            backbone = new_student()
            if len(backbone.stages) != 4:
                raise UserError(
                    f"teskd requires a network with four stages, but {backbone.name} has {len(backbone.stages)}: "
                    "change the recipe's student"
                )
            return TESKD(self, backbone)

    def __init__(self, config: Config, backbone: Staged):
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.students = Pyramid([backbone.shapes[stage] for stage in backbone.stages], backbone.num_classes)

    def forward(self, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        c = self.config
        logits, features = self.backbone.output(batch.images, (*self.backbone.stages, "pooled"))
        goal = features["pooled"]
        if goal.shape[1] != self.backbone.width(self.backbone.last_stage):  # widened behind its last stage
            goal = features[self.backbone.last_stage].mean((2, 3))
        students, pooled = self.students([features[stage] for stage in self.backbone.stages])
        weights = (c.backbone_weight, *c.student_weights)
        sums = teskd_loss(logits, students, goal, pooled, batch.labels, c.temperature, weights)
        # Losses of workers, and of an accumulated batch's parts, are averaged: the global batch's sum is the mean per
        # sample times its size.
        size = c.batch or sum(batch.shares) or len(batch.images)
        feature = sums["feature"] * (size / len(batch.images))
        terms = {"ce": c.ce * sums["ce"], "kd": c.kd * sums["kd"], "feature": c.feature * feature}
        return Step(terms, {"train_top1": accuracy(logits, batch.labels)})

    def networks(self) -> dict[str, nn.Module]:
        """Only the backbone: the student sub-networks are never deployed."""
        return {"backbone": self.backbone}

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Logits [B, C] of the backbone and of the students; "student1" is the one that reads all four stages."""
        logits, features = self.backbone.output(images, self.backbone.stages)
        students, _ = self.students([features[stage] for stage in self.backbone.stages])
        return {"backbone": logits} | {f"student{i}": students[i - 1] for i in (3, 2, 1)}
