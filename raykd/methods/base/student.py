"""What the methods with one student have in common, and what they ask of the teachers."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from raykd import UserError
from raykd.contract import Batch, Distiller, Output, Step, expect_teachers
from raykd.method import MethodConfig
from raykd.models.staged import Staged


class SingleStudent(Distiller):
    """One student that is trained and deployed; everything else that trains belongs to the method.

    A method says in `step` what it makes of the student's output, which `forward` computes once; a sum of methods
    computes it once for all of them. It reads logits alone, unless `student_features` and `teacher_features` name more.
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
        """The method's terms and notes. `student` and `teachers` may hold more features than it named."""
        raise NotImplementedError

    def borrow_student(self) -> None:
        """Refer to the student without registering it: what this method is a part of registers it once for all."""
        self.__dict__["student"] = self._modules.pop("student")

    def networks(self) -> dict[str, nn.Module]:
        return {"student": self.student}


@torch.no_grad()
def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of a training batch whose class, or largest share of classes, is right; logits [B, C]. A note."""
    classes = labels.argmax(1) if labels.is_floating_point() else labels
    return (logits.argmax(1) == classes).float().mean()


def expect_same_classes(method: str, student: Staged, teachers: Sequence[Staged]) -> None:
    """Raise UserError unless every teacher tells the student's classes apart."""
    for k, teacher in enumerate(teachers):
        if teacher.num_classes != student.num_classes:
            raise UserError(
                f"{method} compares classes: teachers[{k}] ({teacher.name}) has {teacher.num_classes}, "
                f"the student ({student.name}) has {student.num_classes}: change `teachers` or the data"
            )


def student_of_one_teacher(method: str, new_student: Callable[[], Staged], teachers: Sequence[Staged]) -> Staged:
    """A fresh student; raises UserError unless there is one teacher, of the student's classes."""
    expect_teachers(method, teachers, 1, 1)
    student = new_student()
    expect_same_classes(method, student, teachers)
    return student


def expect_chain(method: str, does: str, network: Staged) -> None:
    """Raise UserError unless the network can be entered at its stages; `does` says what the method needs that for."""
    if not network.is_chain:
        raise UserError(f"{method} {does}, and {network.name} is not a chain of stages: take another network or method")


def stack_teachers(teachers: Sequence[Output]) -> Tensor:
    """Logits of K teachers, [K, B, C]."""
    return torch.stack([teacher.logits for teacher in teachers])
