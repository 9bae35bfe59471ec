"""Confidence-Aware Multi-Teacher Knowledge Distillation (Zhang et al., ICASSP 2022).

γ CE + α L_logits + β L_features: the smaller a teacher's cross-entropy with the label, the larger its weight for that
sample. For features it is the cross-entropy of the logits that the teacher's own head computes from the student's
embedded map (not detached). The feature term is added from the second epoch on.
Deviation: with teachers of different map sizes, each map is resized from the student's own, where the authors' code
resizes the map that it already resized for the teacher before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raykd import UserError
from raykd.fields import NonNegative, PositiveInt
from raykd.losses import cross_entropy, map_distance, spatial_mean
from raykd.methods.base.head import apply_head, pools_by_mean
from raykd.methods.base.maps import resize
from raykd.methods.base.multi_teacher import (
    Features,
    FeatureTerm,
    MultiTeacher,
    MultiTeacherConfig,
    Weighting,
    named_feature,
)
from raykd.models.staged import Staged, find_tail


def confidence_weights(logits: Sequence[Tensor] | Tensor, labels: Tensor) -> Tensor:
    """(1 − softmax_k(CE(z_k, y))) / (K − 1): logits [K, B, C] → weights [K, B] that sum to 1 per sample.

    A single teacher, for which the formula is 0/0, has weight 1.
    """
    doubt = torch.stack([cross_entropy(z, labels, reduction="none") for z in logits])
    if len(doubt) == 1:
        return torch.ones_like(doubt)
    return (1 - F.softmax(doubt, dim=0)) / (len(doubt) - 1)


def feature_loss(
    embedded: Sequence[Tensor], maps: Sequence[Tensor], projected: Sequence[Tensor] | Tensor, labels: Tensor
) -> Tensor:
    """Mean over batch and K teachers of w'_kb · mean squared difference of embedded[k] and maps[k] [B, D_k, h_k, w_k].

    projected [K, B, C]: logits of each teacher's head for the embedded map, which the weights w' are computed from,
    with gradients. labels [B] or [B, C].
    """
    errors = torch.stack([map_distance(e, m) for e, m in zip(embedded, maps, strict=True)])
    return (confidence_weights(projected, labels) * errors).mean()


def embedding(student_width: int, teacher_width: int, hidden: int = 0) -> nn.Sequential:
    """1×1 convolution, BN, ReLU; or, with a hidden width, 1×1, 3×3 and 1×1 convolutions, each with both."""
    if not hidden:
        return nn.Sequential(*_unit(student_width, teacher_width, 1))
    first, last = _unit(student_width, hidden, 1), _unit(hidden, teacher_width, 1)
    return nn.Sequential(*first, *_unit(hidden, hidden, 3), *last)


def embed(part: nn.Sequential, feature_map: Tensor, size: Sequence[int]) -> Tensor:
    """An embedding of a map [B, D, h, w] at another size: [B, D', *size].

    A map is enlarged after the first convolution, which then has fewer positions to compute. The result is the same up
    to rounding, since both are linear, one in channels and the other in positions.
    """
    if feature_map.shape[2] >= size[0]:
        embedded: Tensor = part(resize(feature_map, size))
    else:
        embedded = part[1:](resize(part[0](feature_map), size))
    return embedded


def _unit(in_channels: int, channels: int, kernel: int) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2)
    return [conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]


@dataclass(frozen=True, kw_only=True)
class Confidence(Weighting):
    """CA-MKD's weights: the smaller a teacher's cross-entropy with the label, the larger its weight for that sample."""

    reads_labels: ClassVar[bool] = True

    fewest: ClassVar[int] = 2

    def weights(self, student: Tensor, teachers: Tensor, labels: Tensor, temperature: float) -> Tensor:
        return confidence_weights(teachers, labels) / len(teachers)


@dataclass(frozen=True, kw_only=True)
class Embeddings(Features):
    """Distances of the student's embedded map from each teacher's, weighted by how well that head classifies it."""

    reads_labels: ClassVar[bool] = True

    weight: NonNegative = 50.0
    """Weight of the term."""
    stage: str = "last"
    """The map that is compared: "last", or "last.pre" for the last one before its ReLU."""
    convs: bool = False
    """Embed by three convolutions, 1×1, 3×3 and 1×1, instead of one."""
    factor: PositiveInt = 2
    """Factor by which the inner maps are narrower than the student's; only with `convs`."""
    first_epoch: NonNegative = 1.0
    """First epoch with this term."""

    def build(self, student: Staged, teachers: Sequence[Staged]) -> FeatureTerm:
        if self.factor != Embeddings.factor and not self.convs:
            raise UserError("embeddings: `factor` has an effect only with `convs`: set `convs`, or remove `factor`")
        if self.stage not in ("last", "last.pre"):
            raise UserError(f"embeddings: `stage` must be last or last.pre, which a head can read, not {self.stage!r}")
        return EmbeddingTerm(self, student, teachers)


class EmbeddingTerm(FeatureTerm):
    """The module of `Embeddings`, with one trained embedding for each teacher."""

    def __init__(self, rule: Embeddings, student: Staged, teachers: Sequence[Staged]):
        super().__init__()
        self.weight, self.first_epoch = rule.weight, rule.first_epoch
        self.student_feature = named_feature("embeddings", rule.stage, student)
        self.teacher_features = tuple(named_feature("embeddings", rule.stage, teacher) for teacher in teachers)
        for teacher in teachers:
            find_tail(teacher)
        self.teachers = tuple(teachers)  # a tuple registers nothing: their heads are read, not trained
        self.pool_by_mean = tuple(pools_by_mean(teacher) for teacher in teachers)
        width = student.width(self.student_feature)
        hidden = max(width // rule.factor, 1) if rule.convs else 0
        parts = [embedding(width, t.width(t.last_stage), hidden) for t in teachers]
        self.embeddings = cast(Sequence[nn.Sequential], nn.ModuleList(parts))

    def forward(self, student: Tensor, teachers: Sequence[Tensor], labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        embedded = [embed(part, student, t.shape[2:]) for part, t in zip(self.embeddings, teachers, strict=True)]
        projected = [self._classify(k, e) for k, e in enumerate(embedded)]
        weights = confidence_weights(projected, labels).mean(1).detach()
        return feature_loss(embedded, teachers, projected, labels), {"feature_weights": weights}

    def _classify(self, k: int, embedded: Tensor) -> Tensor:
        """Logits [B, C] that teacher k's own head makes of a map [B, D, h, w]."""
        if self.pool_by_mean[k]:
            return apply_head(self.teachers[k], spatial_mean(embedded))
        return self.teachers[k].classify(embedded)


class CAMKD(MultiTeacher):
    """Learns logits and features of several teachers, weighted for each sample by how well they classify it."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MultiTeacherConfig):
        beta: NonNegative = 50.0
        """Weight of the feature term."""
        convs: bool = False
        """Embed by three convolutions instead of one; see `Embeddings`."""
        factor: PositiveInt = 2
        """Factor by which the inner maps are narrower than the student's; only with `convs`."""
        logits_only_epochs: NonNegative = 1.0
        """Epochs at the start without the feature term."""

        def rules(self) -> tuple[Weighting, Features]:
            features = Embeddings(
                weight=self.beta, convs=self.convs, factor=self.factor, first_epoch=self.logits_only_epochs
            )
            return Confidence(), features
