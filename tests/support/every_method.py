"""Every method of raykd with suitable networks; new methods are found automatically."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields

import torch

import raykd.methods
from raykd import UserError
from raykd.contract import Distiller
from raykd.method import MethodConfig
from raykd.models.staged import Staged


@dataclass(frozen=True)
class Case:
    """A method's settings, its student and its teachers, by the networks' names."""

    config: MethodConfig
    student: str
    teachers: tuple[str, ...]

    def build(self, create: Callable[[str], Staged], teachers: list[Staged], batch: int = 64) -> Distiller:
        distiller = self.config.with_batch_size(batch).build(lambda: create(self.student), teachers)
        distiller.set_training_labels(torch.arange(64) % 10)
        return distiller


def classes() -> Iterator[type[Distiller]]:
    """Methods in alphabetical order of their modules."""
    for module in pkgutil.walk_packages(raykd.methods.__path__, "raykd.methods."):
        for cls in vars(importlib.import_module(module.name)).values():
            own = inspect.isclass(cls) and cls.__module__ == module.name and issubclass(cls, Distiller)
            if own and "Config" in vars(cls) and _has_defaults(cls.Config):
                yield cls


def _has_defaults(config: type[MethodConfig]) -> bool:
    """A sum of methods names its parts, and they are tested by themselves."""
    return all(f.default is not MISSING or f.default_factory is not MISSING for f in fields(config))


def configs() -> dict[str, MethodConfig]:
    """The settings that each method has by default, by its class's name."""
    return {cls.__name__: cls.Config() for cls in classes()}


def case_of(config: MethodConfig, create: Callable[[str], Staged], students, teacher: str) -> Case:
    """The first student, and the smallest number of teachers, that the method accepts."""
    reasons = []
    for student, taught in [*((s, teacher) for s in students), *((s, s) for s in students)]:
        for count in range(4) if config.uses_teachers else (0,):
            case = Case(config, student, (taught,) * count)
            try:
                case.build(create, [create(taught) for _ in range(count)])
                return case
            except UserError as reason:
                reasons.append(str(reason))
    raise AssertionError(f"{type(config).__qualname__} takes none of the test's networks: {reasons}")
