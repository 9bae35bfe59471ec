"""A weighted sum of methods that share one student, as RepDistiller adds KD to any of its methods (`-a`).

The student is built once and runs once a step; every method keeps its own terms ("kd.ce", "crd.crd"), parameters and
schedules, and reads the teachers that the recipe names. The cross-entropy of every method counts: to count it once, set
its weight to 0 in the others.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, cast

from torch import Tensor, nn

from raykd import UserError
from raykd.contract import Batch, Output, Step
from raykd.fields import MinLen, NonNegative
from raykd.method import MethodConfig
from raykd.methods.base.student import SingleStudent
from raykd.models.staged import Staged


class Sum(SingleStudent):
    """Adds the weighted losses of several methods for one student."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        kind = "sum"

        methods: Annotated[tuple[MethodConfig, ...], MinLen(1)]
        """The methods, each with one student."""
        weights: tuple[NonNegative, ...]
        """Weight of each method's terms, in the same order."""

        @property
        def hard_labels(self) -> bool:
            return any(method.hard_labels for method in self.methods)

        @property
        def reads_labels(self) -> bool:
            return any(method.reads_labels for method in self.methods)

        @property
        def compares_classes(self) -> bool:
            return any(method.compares_classes for method in self.methods)

        @property
        def compares_images(self) -> bool:
            return any(method.compares_images for method in self.methods)

        @property
        def initialises(self) -> bool:
            return any(method.initialises for method in self.methods)

        @property
        def uses_teachers(self) -> bool:
            return any(method.uses_teachers for method in self.methods)

        def with_batch_size(self, size: int) -> "Sum.Config":
            return replace(self, methods=tuple(method.with_batch_size(size) for method in self.methods))

        def build(self, new_student: Callable[[], Staged], teachers: Sequence[Staged]) -> "Sum":
            if len(self.weights) != len(self.methods):
                raise UserError(
                    f"`method.weights` of sum must have one weight for each of the {len(self.methods)} methods, not "
                    f"{len(self.weights)}"
                )
            student = new_student()
            parts = []
            for name, method in zip(names(self.methods), self.methods, strict=True):
                part = method.build(lambda: student, teachers if method.uses_teachers else ())
                if not isinstance(part, SingleStudent):
                    raise UserError(f"sum combines methods with one student, but {name} has several: remove it")
                parts.append(part)
            return Sum(self, student, teachers, parts)

    config: Config

    def __init__(self, config: Config, student: Staged, teachers: Sequence[Staged], parts: Sequence[SingleStudent]):
        super().__init__(config, student, teachers)
        for part in parts:
            part.borrow_student()
        by_name = dict(zip(names(config.methods), parts, strict=True))
        self.parts = cast(Mapping[str, SingleStudent], nn.ModuleDict(by_name))
        self.student_features = union(part.student_features for part in parts)
        taught = [part for part in parts if part.teacher_features]
        self.teacher_features = tuple(union(part.teacher_features[k] for part in taught) for k in range(len(teachers)))
        self.reads_buffers = any(part.reads_buffers for part in parts)

    @property
    def needs_teachers(self) -> bool:
        return self.initialising or any(part.needs_teachers for part in self.parts.values())

    def set_training_labels(self, labels: Tensor) -> None:
        for part in self.parts.values():
            part.set_training_labels(labels)

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        """Terms of all methods; in the initialise phase, of those that have one."""
        total = Step({}, {})
        for weight, (name, part) in zip(self.config.weights, self.parts.items(), strict=True):
            if self.initialising and not part.config.initialises:
                continue
            part.initialising = self.initialising
            read = teachers if part.teacher_features else ()
            terms, notes = part.step(student, batch, read, epoch)
            total.terms.update({f"{name}.{key}": weight * term for key, term in terms.items()})
            total.notes.update({f"{name}.{key}": note for key, note in notes.items()})
        return total

    def networks(self) -> dict[str, nn.Module]:
        """The student, or the larger network of the one method that deploys more than it."""
        return next((part.networks() for part in self.parts.values() if deploys_more(part)), super().networks())


def names(methods: Sequence[MethodConfig]) -> list[str]:
    """Each method's module, numbered from the second of a kind on: kd, crd, kd-1."""
    seen: Counter[str] = Counter()
    result = []
    for method in methods:
        result.append(f"{method.name}-{seen[method.name]}" if seen[method.name] else method.name)
        seen[method.name] += 1
    return result


def union(features: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """Names of all the groups, each once, in order."""
    return tuple(dict.fromkeys(name for group in features for name in group))


def deploys_more(part: SingleStudent) -> bool:
    """Whether a method deploys more than its student, as SimKD does with the teacher's classifier."""
    return any(network is not part.student for network in part.networks().values())
