"""Several teachers, one student: any rule that weights their logits with any rule that compares their features.

γ CE + α Σ_k mean_b w_kb T² KL(teacher_k ‖ student) + the weighted term of the features. AVER-MKD, FitNet-MKD, EBKD,
AEKD and CA-MKD, as compared in "Confidence-Aware Multi-Teacher Knowledge Distillation" (Zhang et al., ICASSP 2022), are
one pair of rules each and have their own classes; here the two rules are chosen independently.
Deviations: CA-MKD's code combines hints only with equal or AEKD's weights, and fails where its decay of the
distillation begins; its decay also changes γ, this one the weight of the features.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from raykd import UserError
from raykd.contract import Batch, Output, Step, expect_teachers
from raykd.fields import NonNegative, Positive
from raykd.losses import cross_entropy, full_precision, kl_divergence
from raykd.method import MethodConfig
from raykd.methods.base.student import SingleStudent, expect_same_classes, stack_teachers
from raykd.models.staged import Staged


@dataclass(frozen=True, kw_only=True)
class Weighting:
    """A rule for the weights of the teachers' logits; this base class gives them equal weights."""

    reads_labels: ClassVar[bool] = False
    compares_images: ClassVar[bool] = False  # as of `MethodConfig`
    fewest: ClassVar[int] = 1
    most: ClassVar[int | None] = None

    def check(self, count: int) -> None:
        """Raise UserError if the fields don't fit this number of teachers."""

    def weights(self, student: Tensor, teachers: Tensor, labels: Tensor, temperature: float) -> Tensor:
        """Weights w_kb, [K, B] or [K, 1], from logits [B, C] and [K, B, C]; without gradient for the student."""
        return full_precision(teachers).new_full((len(teachers), 1), 1 / len(teachers))


@dataclass(frozen=True, kw_only=True)
class Features:
    """A rule that compares the teachers' feature maps with the student's; this base class compares none."""

    reads_labels: ClassVar[bool] = False
    compares_images: ClassVar[bool] = False  # as of `MethodConfig`

    def build(self, student: Staged, teachers: Sequence[Staged]) -> "FeatureTerm | None":
        """The module that compares them; raises UserError if a network lacks the feature."""
        return None


class FeatureTerm(nn.Module):
    """Compares one map of the student with one of each teacher; its parameters are trained with the student's."""

    weight: float
    first_epoch: float  # the term is left out before it
    student_feature: str
    teacher_features: tuple[str, ...]

    def forward(self, student: Tensor, teachers: Sequence[Tensor], labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The unweighted term and notes, from maps [B, D, h, w] of the student and K teachers, labels [B] or [B, C]."""
        raise NotImplementedError


def weighted_divergence(student: Tensor, teachers: Tensor, weights: Tensor, temperature: float) -> Tensor:
    """Σ_k mean_b w_kb T² KL(teacher_k ‖ student); [B, C], [K, B, C], weights [K, B] or [K, 1]."""
    divergences = kl_divergence(student.expand_as(teachers), teachers, temperature, reduction="none")
    return (weights * divergences).mean(1).sum()


def named_feature(what: str, stage: str, network: Staged) -> str:
    """The feature that a recipe's `stage` names, where "last" is the last stage; raises UserError if there is none."""
    feature = stage.replace("last", network.last_stage, 1)
    known = [name for name, shape in network.shapes.items() if len(shape) == 3]
    if feature not in known:
        raise UserError(f"{what}: `stage` is {stage!r}, but {network.name} has only {', '.join(known)}")
    return feature


@dataclass(frozen=True, kw_only=True)
class MultiTeacherConfig(MethodConfig):
    """Base class of the settings of methods with several teachers."""

    kind = "several teachers"

    gamma: NonNegative = 1.0
    """Weight of the cross-entropy with the labels."""
    alpha: NonNegative = 1.0
    """Weight of the divergence from the teachers (T² is part of it)."""
    temperature: Positive = 4.0
    """Temperature T of both softmaxes of the divergence."""
    fade_from: NonNegative = 0.0
    """Epoch at which the weights of divergence and features start to fall linearly to 0."""
    fade_epochs: NonNegative = 0.0
    """Length of this fade in epochs; 0: no fade."""

    def rules(self) -> tuple[Weighting, Features]:
        """How the teachers' logits are weighed, and how their features are compared."""
        return Weighting(), Features()

    @property
    def reads_labels(self) -> bool:
        return self.gamma > 0 or any(rule.reads_labels for rule in self.rules())

    @property
    def compares_images(self) -> bool:
        return any(rule.compares_images for rule in self.rules())

    def build(self, new_student: Callable[[], Staged], teachers: Sequence[Staged]) -> "MultiTeacher":
        weighting, features = self.rules()
        expect_teachers(self.name, teachers, weighting.fewest, weighting.most)
        if self.fade_from and not self.fade_epochs:
            raise UserError(
                f"`method.fade_from` of {self.name} requires `method.fade_epochs`, the length of the fade in epochs"
            )
        weighting.check(len(teachers))
        student = new_student()
        expect_same_classes(self.name, student, teachers)
        return MultiTeacher(self, student, teachers, weighting, features.build(student, teachers))


class MultiTeacher(SingleStudent):
    """Learns from several teachers by any rule for the logits' weights and any rule that compares features."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MultiTeacherConfig):
        logits: Weighting = Weighting()
        """How the teachers' logits are weighed: Weighting, ebkd.Entropy, aekd.Agreement or ca_mkd.Confidence."""
        features: Features = Features()
        """How features are compared: Features (not at all), fitnet_mkd.Hints or AgreeingHints, ca_mkd.Embeddings."""

        def rules(self) -> tuple[Weighting, Features]:
            return self.logits, self.features

    config: MultiTeacherConfig

    def __init__(
        self,
        config: MultiTeacherConfig,
        student: Staged,
        teachers: Sequence[Staged],
        weighting: Weighting,
        features: FeatureTerm | None,
    ):
        super().__init__(config, student, teachers)
        self.weighting = weighting
        self.features = features
        if features is not None:
            self.student_features = (features.student_feature,)
            self.teacher_features = tuple((name,) for name in features.teacher_features)

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        c, targets, labels = self.config, stack_teachers(teachers), batch.labels
        share = remaining(epoch, c.fade_from, c.fade_epochs)
        weights = self.weighting.weights(student.logits, targets, labels, c.temperature)
        terms = {
            "ce": c.gamma * cross_entropy(student.logits, labels),
            "kd": share * c.alpha * weighted_divergence(student.logits, targets, weights, c.temperature),
        }
        notes = {"teacher_weights": (weights / weights.sum(0)).mean(1)}
        # Left out, not multiplied by 0: weight decay must not change modules that don't train yet.
        if self.features is None or epoch < self.features.first_epoch:
            return Step(terms, notes)
        maps = [output.features[name] for output, name in zip(teachers, self.features.teacher_features, strict=True)]
        term, more = self.features(student.features[self.features.student_feature], maps, labels)
        return Step(terms | {"feature": share * self.features.weight * term}, notes | more)


def remaining(epoch: float, start: float, length: float) -> float:
    """1 until epoch `start`, then falling linearly to 0 over `length` epochs; always 1 for length 0."""
    return 1.0 if length <= 0 else min(1.0, max(0.0, 1.0 - (epoch - start) / length))
