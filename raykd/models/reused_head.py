"""A student that predicts with another network's head: its own stages, a projector, and that head, as one network.

`create` builds it again from its name, `reused:FACTOR:STUDENT+TEACHER`, such as `reused:2:resnet8x4+resnet32x4`. Its
options are those of the two networks, as "student.KEYWORD" and "teacher.KEYWORD", and "teacher_size": the side of the
images that the teacher expects, if the student's are resized for it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from raykd import UserError
from raykd.models.frozen.freeze import freeze
from raykd.models.heads import JoinClasses
from raykd.models.staged import ModuleCall, Part, Parts, Staged, find_chain, run_parts
from raykd.models.staged.layers import named

PREFIX = "reused"
SIZE = "teacher_size"


class ReusedHead(Staged):
    """The stages of `student` with a projector at the end of the last one, and pooling and head of `teacher`.

    Contains their modules themselves: under "student" and "teacher" by their own dotted names, and under "projector".
    Raises UserError if classes of the teacher were merged.
    """

    def __init__(self, student: Staged, projector: nn.Module, teacher: Staged, factor: int):
        if any(isinstance(module, JoinClasses) for module in teacher.modules()):
            raise UserError(
                f"{teacher.name}: its head can't be reused, because some of its classes are merged: use another teacher"
            )
        trunk, rest = ("stem", *student.stages), ("pooled", "head")
        stem, *stages = (_under("student", student.sections[section]) for section in trunk)
        stages[-1] += ("projector",)
        pool, head = (_under("teacher", teacher.sections[section]) for section in rest)
        parts = (*stem, *sum(stages, ()), *pool, *head)
        joined = Joined(_holder(student, trunk), projector, _holder(teacher, rest), parts)
        super().__init__(
            Parts(joined, stem, tuple(stages), pool, head),
            name=f"{PREFIX}:{factor}:{student.name}+{teacher.name}",
            num_classes=teacher.num_classes,
            image_size=student.image_size,
        )
        both = {"student": student.options, "teacher": teacher.options}
        self.options = {f"{part}.{key}": value for part, options in both.items() for key, value in options.items()}
        if teacher.native_size != student.image_size:
            self.options[SIZE] = teacher.native_size


class Joined(nn.Module):
    """The plain network: its modules, and the parts that run in order."""

    def __init__(self, student: nn.Module, projector: nn.Module, teacher: nn.Module, parts: tuple[Part, ...]):
        super().__init__()
        self.student, self.projector, self.teacher, self.parts = student, projector, teacher, parts

    def forward(self, images: Tensor) -> Tensor:
        return run_parts(self, self.parts, images)


def projector(student: Sequence[int], teacher: Sequence[int], factor: int) -> nn.Sequential:
    """From a student's map to a teacher's width, shapes (D, h, w): 1×1, 3×3, 1×1 convolutions, each with BN and ReLU.

    The inner ones have 1/factor of the teacher's width; a map larger than the teacher's is average-pooled first.
    """
    width, inner, out = student[0], max(teacher[0] // factor, 1), teacher[0]
    transfer = [*_unit(width, inner, 1), *_unit(inner, inner, 3), *_unit(inner, out, 1)]
    larger = student[1] > teacher[1]
    pool = nn.AdaptiveAvgPool2d(tuple(teacher[1:])) if larger else nn.Identity()
    return named(pool=pool, transfer=nn.Sequential(*transfer))


def build(
    name: str, num_classes: int, image_size: int, options: Mapping[str, Any], create: Callable[..., Staged]
) -> ReusedHead:
    """A fresh network of that name, with parts built by `create`.

    Raises UserError for a name of another form, and for unknown options.
    """
    factor, colon, rest = name.removeprefix(f"{PREFIX}:").partition(":")
    student_name, plus, teacher_name = rest.partition("+")
    if not (colon and plus and factor.isdigit() and int(factor) > 0):
        raise UserError(f"unknown network {name!r}: the form is {PREFIX}:FACTOR:STUDENT+TEACHER")
    own, teachers = _options_of("student", options), _options_of("teacher", options)
    unknown = [key for key in options if key != SIZE and key.partition(".")[0] not in ("student", "teacher")]
    if unknown:
        raise UserError(f"{name} has no option {unknown[0]!r}: use student.KEYWORD, teacher.KEYWORD or {SIZE}")
    student = create(student_name, num_classes, image_size, options=own)
    teacher = create(teacher_name, num_classes, options.get(SIZE, image_size), options=teachers)
    expect_chains(student, teacher)
    shapes = student.shapes[student.last_stage], teacher.shapes[teacher.last_stage]
    # Frozen, as in training: BatchNorms of its head are folded.
    return ReusedHead(student, projector(*shapes, int(factor)), freeze(teacher), int(factor))


def _options_of(part: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {key.removeprefix(f"{part}."): value for key, value in options.items() if key.startswith(f"{part}.")}


def expect_chains(*networks: Staged) -> None:
    """Raise UserError unless all networks can be entered at their stages."""
    for network in networks:
        find_chain(network)
        if not network.is_chain or len(network.shapes[network.last_stage]) != 3:
            raise UserError(
                f"{network.name} is not a chain of stages that ends with a feature map: use another network"
            )


def _unit(in_channels: int, channels: int, kernel: int) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=False)
    return [conv, nn.BatchNorm2d(channels), nn.ReLU()]


def _under(prefix: str, parts: Sequence[Part]) -> tuple[Part, ...]:
    """The same parts of a network that lies below `prefix`."""
    return tuple(
        f"{prefix}.{part}"
        if isinstance(part, str)
        else ModuleCall(f"{prefix}.{part.module}", part.function)
        if isinstance(part, ModuleCall)
        else part
        for part in parts
    )


def _holder(network: Staged, sections: Collection[str]) -> nn.Module:
    """The modules of these sections alone, by their own dotted names."""
    holder = nn.Module()
    for section in sections:
        for path, module in network.modules_of(section).items():
            *parents, leaf = path.split(".")
            at = holder
            for parent in parents:
                if not hasattr(at, parent):
                    at.add_module(parent, nn.Module())
                at = getattr(at, parent)
            at.add_module(leaf, module)
    return holder
