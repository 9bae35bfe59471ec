"""What the methods with one student have in common, and what they ask of the teachers."""

from collections.abc import Sequence

from torch import nn

from raykd import UserError
from raykd.contract import Distiller, MethodConfig
from raykd.models.staged import Staged


class SingleStudent(Distiller):
    """One student that is trained and deployed; everything else that trains belongs to the method."""

    def __init__(self, config: MethodConfig, student: Staged):
        super().__init__()
        self.config = config
        self.student = student

    def networks(self) -> dict[str, nn.Module]:
        return {"student": self.student}


def expect_same_classes(method: str, student: Staged, teachers: Sequence[Staged]) -> None:
    """Raise UserError unless every teacher tells the student's classes apart."""
    for k, teacher in enumerate(teachers):
        if teacher.num_classes != student.num_classes:
            raise UserError(
                f"{method} compares classes: teachers[{k}] ({teacher.name}) has {teacher.num_classes}, "
                f"the student ({student.name}) has {student.num_classes}: change `teachers` or the data"
            )


def expect_positive(method: str, **fields: float) -> None:
    """Raise UserError unless the method's fields, given by name, are all above 0."""
    for name, value in fields.items():
        if not value > 0:
            raise UserError(f"`method.{name}` of {method} must be above 0, not {value}")
