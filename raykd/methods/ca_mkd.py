"""Confidence-Aware Multi-Teacher Knowledge Distillation (Zhang, Chen, Wang, ICASSP 2022).

γ CE + α L_logits + β L_features: per sample, a teacher counts the more, the smaller its cross-entropy with the label;
for features, the cross-entropy of what the teacher's own head makes of the student's embedded map (not detached).
The feature term counts from the second epoch on; in the first its weight is 0, which still trains the embeddings'
BatchNorm statistics, as in the authors' code (and, unlike there, decays their weights).
Deviation: with teachers of different map sizes, each map is resized from the student's own, where the authors' code
resizes the map that it already resized for the teacher before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raykd.contract import Batch, Output, Step, expect_teachers
from raykd.losses import cross_entropy, kl_divergence, map_distance
from raykd.method import MethodConfig
from raykd.methods.student import SingleStudent, expect_positive, expect_same_classes, stack_teachers
from raykd.models.staged import Staged


def confidence_weights(logits: Sequence[Tensor] | Tensor, labels: Tensor) -> Tensor:
    """(1 − softmax_k(CE(z_k, y))) / (K − 1): logits [K, B, C] → weights [K, B] that sum to 1 per sample; eq. 3.

    A single teacher, for which the formula is 0/0, has weight 1.
    """
    doubt = torch.stack([cross_entropy(z, labels, reduction="none") for z in logits])
    if len(doubt) == 1:
        return torch.ones_like(doubt)
    return (1 - F.softmax(doubt, dim=0)) / (len(doubt) - 1)


def logit_loss(student: Tensor, teachers: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Mean over batch and K teachers of w_kb T² KL(teacher_k ‖ student); [B, C], [K, B, C], labels [B] or [B, C]."""
    divergences = kl_divergence(student.expand_as(teachers), teachers, temperature, reduction="none")
    return (confidence_weights(teachers, labels) * divergences).mean()


def feature_loss(
    embedded: Sequence[Tensor], maps: Sequence[Tensor], projected: Sequence[Tensor] | Tensor, labels: Tensor
) -> Tensor:
    """Mean over batch and K teachers of w'_kb · mean squared difference of embedded[k] and maps[k] [B, D_k, h_k, w_k].

    projected [K, B, C]: what each teacher's head makes of the embedded map; the weights w' come from it, and gradients
    flow into them. labels [B] or [B, C].
    """
    errors = torch.stack([map_distance(e, m) for e, m in zip(embedded, maps, strict=True)])
    return (confidence_weights(projected, labels) * errors).mean()


def resize(feature_map: Tensor, size: Sequence[int]) -> Tensor:
    """[B, D, h, w] → [B, D, *size]: average pooling to a smaller height, bilinear interpolation to a larger one."""
    if feature_map.shape[2] >= size[0]:
        return F.adaptive_avg_pool2d(feature_map, tuple(size))
    return F.interpolate(feature_map, size=tuple(size), mode="bilinear", align_corners=False)


def embedding(student_width: int, teacher_width: int) -> nn.Sequential:
    conv = nn.Conv2d(student_width, teacher_width, kernel_size=1)
    return nn.Sequential(conv, nn.BatchNorm2d(teacher_width), nn.ReLU(inplace=True))


class CAMKD(SingleStudent):
    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        kind = "several teachers"

        gamma: float = 1.0
        """Weight of the cross-entropy with the labels."""
        alpha: float = 1.0
        """Weight of the weighted divergence from the teachers (T² is part of it)."""
        beta: float = 50.0
        """Weight of the feature term."""
        temperature: float = 4.0
        """Temperature T of both softmaxes of the divergence."""
        logits_only_epochs: float = 1.0
        """Epochs at the start without the feature term."""

        def build(self, new_student: Callable[[], Staged], teachers: Sequence[Staged]) -> "CAMKD":
            expect_teachers("ca_mkd", teachers, 2)
            expect_positive("ca_mkd", temperature=self.temperature)
            student = new_student()
            expect_same_classes("ca_mkd", student, teachers)
            return CAMKD(self, student, teachers)

    def __init__(self, config: Config, student: Staged, teachers: Sequence[Staged]):
        super().__init__(config, student)
        self.student_features = (student.last_stage,)
        self.teacher_features = tuple((teacher.last_stage,) for teacher in teachers)
        self.teachers = tuple(teachers)  # a tuple registers nothing: their heads are read, not trained
        width = student.width(student.last_stage)
        self.embeddings = nn.ModuleList(embedding(width, t.width(t.last_stage)) for t in teachers)

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        c = self.config
        logits, targets = student.logits, stack_teachers(teachers)
        terms = {
            "ce": c.gamma * cross_entropy(logits, batch.labels),
            "kd": c.alpha * logit_loss(logits, targets, batch.labels, c.temperature),
        }
        notes = {"teacher_weights": confidence_weights(targets, batch.labels).mean(1).detach()}
        # Left out, not multiplied by 0: weight decay must not touch the embeddings yet.
        if epoch < c.logits_only_epochs:
            return Step(terms, notes)
        maps = [output.features[name] for output, (name,) in zip(teachers, self.teacher_features, strict=True)]
        embedded, projected = self._embed(student.features[self.student.last_stage], maps)
        terms["feature"] = c.beta * feature_loss(embedded, maps, projected, batch.labels)
        notes["feature_weights"] = confidence_weights(projected, batch.labels).mean(1).detach()
        return Step(terms, notes)

    def _embed(self, student_map: Tensor, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """The student's map in each teacher's shape, and the logits that the teacher's head makes of it."""
        embedded = [
            embed(resize(student_map, teacher_map.shape[2:]))
            for embed, teacher_map in zip(self.embeddings, maps, strict=True)
        ]
        return embedded, [t.classify(e) for t, e in zip(self.teachers, embedded, strict=True)]
