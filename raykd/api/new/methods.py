"""The methods by name, and what a recipe needs of each: teachers, a phase before the training."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

import torch

import raykd.methods
from raykd import UserError
from raykd.contract import Distiller
from raykd.method import MethodConfig
from raykd.models.staged import Staged

# Methods that need more than one recipe file: what to do instead.
APART = {
    "feature_match": "its student gets no classifier: see the recipes features/match and features/finetune",
    "linear_probe": "it needs the weights of another run: see the recipe features/probe",
    "sum": "it names its parts: see the recipe digits/sum",
}


@dataclass(frozen=True)
class Entry:
    """A method that a module of raykd defines."""

    module: str  # below raykd.methods, as "kd"
    cls: type[Distiller]
    line: str  # its paper, or what it is: the first paragraph of its module's docstring

    @property
    def config(self) -> type[MethodConfig]:
        """The class of its settings."""
        config: type[MethodConfig] = vars(self.cls)["Config"]
        return config

    @property
    def needs_teacher(self) -> bool:
        """Whether a recipe with it must name a teacher."""
        return self.module in APART or self.config().uses_teachers


def entries() -> Iterator[Entry]:
    """Every method, in alphabetical order of their modules."""
    for module in pkgutil.walk_packages(raykd.methods.__path__, "raykd.methods."):
        loaded = importlib.import_module(module.name)
        for cls in vars(loaded).values():
            own = isinstance(cls, type) and issubclass(cls, Distiller) and cls.__module__ == loaded.__name__
            if own and "Config" in vars(cls):
                name = module.name.removeprefix("raykd.methods.")
                yield Entry(name, cls, " ".join((loaded.__doc__ or "").partition("\n\n")[0].split()))


def entry(name: str) -> Entry:
    """A method by kd, kd.KD or KD; raises UserError if it doesn't exist, or can't be used in a recipe alone."""
    known = list(entries())
    for each in known:
        if name.lower() in (each.module, f"{each.module}.{each.cls.__name__}".lower(), each.cls.__name__.lower()):
            break
    else:
        close = get_close_matches(name.lower(), [each.module for each in known], 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UserError(f"no method {name!r}{hint}; `raykd list methods` shows all")
    if each.module in APART:
        raise UserError(f"{each.module} can't be used with raykd new: {APART[each.module]}")
    return each


def fitting(method: Entry, student: Callable[[], Staged], teacher: Callable[[], Staged], images: int) -> int:
    """The number of teachers to train: three for methods that weight several, else the fewest that the method accepts.

    The method is built with them once; raises its UserError if it accepts none of 1 to 3 of these networks.
    """
    counts = (0,) if not method.needs_teacher else (3,) if method.config.kind == "several teachers" else (1, 2, 3)
    refused: UserError | None = None
    for count in counts:
        try:
            with torch.random.fork_rng(devices=[]):
                distiller = method.config().build(student, [teacher() for _ in range(count)])
            distiller.set_training_labels(torch.arange(images) % 2)
            return count
        except UserError as error:
            refused = refused or error
    assert refused is not None
    raise refused
