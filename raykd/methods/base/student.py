"""The base class of methods with one student, and checks of students and teachers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from raykd import UserError
from raykd.contract import Batch, Distiller, Output, Step, expect_teachers
from raykd.method import MethodConfig
from raykd.models.staged import Staged


class ConfiguredDistiller(Distiller):
    """A distiller whose nested `Config` knows it as its `distiller`, so that configs can share their `build`."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        config = vars(cls).get("Config")
        if config is not None and config.__qualname__ == f"{cls.__qualname__}.Config":
            config.distiller = cls


class SingleStudent(ConfiguredDistiller):
    """Base class of methods with one student, which is trained and deployed.

    `forward` computes the student's output, and `step` the method's loss terms from it; a `sum` of methods computes the
    output once for all of them. Outputs contain only logits, unless `student_features` and `teacher_features` name
    features.
    """

    student_features: tuple[str, ...] = ()

    def __init__(self, config: MethodConfig, student: Staged, teachers: Sequence[Staged] = ()):
        super().__init__()
        self.config = config
        self.student = student
        self.teacher_features = ((),) * len(teachers)

    def forward(self, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        output = self.student.output(batch.images, self.student_features)
        terms, notes = self.step(output, batch, teachers, epoch)
        return Step(terms, notes | {"train_top1": accuracy(output.logits, batch.labels)})

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        """The method's loss terms and notes, from the outputs of the student and the teachers.

        They may contain more features than this method needs. epoch: as of `Distiller.forward`.
        """
        raise NotImplementedError

    def borrow_student(self) -> None:
        """Keep the student without registering it, for a method inside another one, which registers the student."""
        self.__dict__["student"] = self._modules.pop("student")

    def networks(self) -> dict[str, nn.Module]:
        return {"student": self.student}


@dataclass(frozen=True, kw_only=True)
class StudentConfig(MethodConfig):
    """Base class of the settings of methods with one student, by default taught by one teacher."""

    distiller: ClassVar[type[SingleStudent]]  # see `ConfiguredDistiller`
    takes: ClassVar[tuple[int, int | None]] = (1, 1)  # the fewest and the most teachers; None: any number

    def build(self, new_student: Callable[[], Staged], teachers: Sequence[Staged]) -> SingleStudent:
        expect_teachers(self.name, teachers, *self.takes)
        student = new_student()
        if self.compares_classes:
            expect_same_classes(self.name, student, teachers)
        return self.distiller(self, student, teachers)


@torch.no_grad()
def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Top-1 accuracy on a training batch, a fraction []: logits [B, C], labels [B] or [B, C] (the largest counts)."""
    classes = labels.argmax(1) if labels.is_floating_point() else labels
    return (logits.argmax(1) == classes).float().mean()


def expect_same_classes(method: str, student: Staged, teachers: Sequence[Staged]) -> None:
    """Raise UserError unless every teacher has as many classes as the student."""
    for k, teacher in enumerate(teachers):
        if teacher.num_classes != student.num_classes:
            raise UserError(
                f"{method} requires equal classes: teachers[{k}] ({teacher.name}) has {teacher.num_classes}, "
                f"the student ({student.name}) has {student.num_classes}: change `teachers` or the data"
            )


def stack_teachers(teachers: Sequence[Output]) -> Tensor:
    """Logits of K teachers, [K, B, C]."""
    return torch.stack([teacher.logits for teacher in teachers])
