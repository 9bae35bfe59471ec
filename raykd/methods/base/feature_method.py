"""Methods that compare features of a student with those of one teacher: γ CE + β · a distance."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from raykd import UserError
from raykd.contract import Batch, Output, Step, expect_teachers
from raykd.fields import NonNegative
from raykd.losses import cross_entropy, full_precision
from raykd.method import MethodConfig
from raykd.methods.base.student import SingleStudent
from raykd.models.staged import Staged


@dataclass(frozen=True, kw_only=True)
class FeatureConfig(MethodConfig):
    """Base class of the settings of methods that compare features with those of one teacher."""

    distiller: ClassVar[Callable[..., SingleStudent]]  # see `ConfiguredDistiller`
    compares_classes: ClassVar[bool] = False
    label_weight: ClassVar[str] = "gamma"

    gamma: NonNegative = 1.0
    """Weight of the cross-entropy with the labels."""

    @property
    def beta(self) -> float:
        """Weight of the distance: a field of every method with one distance."""
        raise NotImplementedError

    def build(self, new_student: Callable[[], Staged], teachers: Sequence[Staged]) -> SingleStudent:
        expect_teachers(self.name, teachers, 1, 1)
        return self.distiller(self, new_student(), teachers[0])


class FeatureMethod(SingleStudent):
    """Base class of methods that compare features of the student and the teacher pair by pair: γ CE + β · a distance.

    Raises UserError if a network lacks a feature that is compared, or if the numbers of stages or, with `equal_widths`,
    the channels differ.
    """

    config: FeatureConfig
    reads: ClassVar[str] = "stages"  # the features that are compared: a key of `features_of`
    term: ClassVar[str]  # the distance's name among the terms
    equal_widths: ClassVar[bool] = False  # the features must have equally many channels in both networks

    def __init__(self, config: FeatureConfig, student: Staged, teacher: Staged):
        super().__init__(config, student, (teacher,))
        self.student_features, taught = features_of(student, self.reads), features_of(teacher, self.reads)
        self.teacher_features = (taught,)
        for network, names in ((student, self.student_features), (teacher, taught)):
            for name in names:
                network.width(name)  # raises UserError if the network has no such feature
        if len(self.student_features) != len(taught):
            raise UserError(
                f"{self.term} compares stage by stage: {student.name} has {len(student.stages)} stages, the teacher "
                f"({teacher.name}) {len(teacher.stages)}: change one of them"
            )
        if self.equal_widths:
            self._expect_equal_widths(student, teacher)

    def _expect_equal_widths(self, student: Staged, teacher: Staged) -> None:
        for s, t in zip(self.student_features, self.teacher_features[0], strict=True):
            if student.width(s) != teacher.width(t):
                raise UserError(
                    f"{self.config.name} requires maps with the same number of channels: {s} of {student.name} has "
                    f"{student.width(s)}, {t} of the teacher ({teacher.name}) {teacher.width(t)}: change one of them"
                )

    def pairs(self, student: Output, teachers: Sequence[Output]) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of features of student and teacher in full precision, maps [B, D, h, w] or vectors [B, D]."""
        for s, t in zip(self.student_features, self.teacher_features[0], strict=True):
            yield full_precision(student.features[s]), full_precision(teachers[0].features[t])

    def distance(self, student: Output, batch: Batch, teachers: Sequence[Output]) -> Tensor:
        """The distance without its weight, a scalar []: a mean over the batch, or scaled like one."""
        raise NotImplementedError

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        ce = self.config.gamma * cross_entropy(student.logits, batch.labels)
        return Step({"ce": ce, self.term: self.config.beta * self.distance(student, batch, teachers)}, {})


def features_of(network: Staged, reads: str) -> tuple[str, ...]:
    """Names of a network's features for a value of `FeatureMethod.reads`, in the order of the network."""
    names = {
        "stages": network.stages,
        "stages before the activation": tuple(f"{stage}.pre" for stage in network.stages),
        "stem and stages": ("stem", *network.stages),
        "last stage": (network.last_stage,),
        "pooled": ("pooled",),
    }
    return names[reads]
