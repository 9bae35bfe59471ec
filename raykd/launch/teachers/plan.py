"""The teachers that recipes train first, and those teachers' own: their runs' names, and which are missing."""

import re
from dataclasses import dataclass, field, replace

from raykd.data.config import Data
from raykd.data.storage.prepare import identity_of
from raykd.launch.driver.validate import check
from raykd.launch.trials.queue import Job
from raykd.recipe import Recipe, Train
from raykd.recipe.fingerprint import fingerprint
from raykd.runs import directory
from raykd.runs.changed import has_other_data
from raykd.runs.results.models import Result
from raykd.runs.results.read import read_result
from raykd.storage.folder import Folder


def teacher_recipes(recipe: Recipe) -> list[Recipe]:
    """The recipe of every teacher that is trained first, in order."""
    recipes = []
    for source in recipe.teachers.sources:
        if isinstance(source, Train):
            recipes += [replace(source.recipe, seed=seed) for seed in source.seeds]
    return recipes


def run_name(recipe: Recipe) -> str:
    """A teacher's run name: its network, and the hash of everything that determines it."""
    return f"teachers/{recipe.student.name.replace(':', '-').replace('/', '-')}-{fingerprint(recipe)}"


def run_in(storage: str, recipe: Recipe) -> str:
    """`run_name`, or the name of a run of the same recipe by a version with other fingerprints."""
    name, teachers = run_name(recipe), Folder(storage) / "teachers"
    if (Folder(storage) / name).exists("recipe.json"):
        return name
    stem = name.removeprefix("teachers/").removesuffix(f"-{fingerprint(recipe)}")
    for other in teachers.names():
        if re.fullmatch(re.escape(stem) + "-[0-9a-f]{12}", other) and directory.is_of(teachers / other, recipe):
            return f"teachers/{other}"
    return name


@dataclass
class TeacherPlan:
    """Teachers of one or several recipes, each once; a missing teacher comes after its own teachers."""

    storage: str
    group: str = ""  # of W&B
    missing: dict[str, Job] = field(default_factory=dict)
    finished: dict[str, Result] = field(default_factory=dict)  # by run name
    _data: dict[str, Data] = field(default_factory=dict)  # of the finished ones
    _names: dict[str, str] = field(default_factory=dict)  # by fingerprint, as looking up a run reads the storage

    def add(self, recipe: Recipe) -> tuple[str, ...]:
        """Add a recipe's teachers; returns the names of their runs, in the recipe's order.

        Raises UserError for a teacher that can't be trained.
        """
        return tuple(self._add(teacher) for teacher in teacher_recipes(recipe))

    def of_other_data(self) -> list[str]:
        """Names of the finished teachers that were trained on other data than are there now."""
        return [
            name for name, data in self._data.items() if has_other_data(Folder(self.storage) / name, identity_of(data))
        ]

    def _add(self, teacher: Recipe) -> str:
        key = fingerprint(teacher)
        if key not in self._names:
            self._names[key] = name = run_in(self.storage, teacher)
            run = Folder(self.storage) / name
            result = read_result(run)
            if result is not None and result.status == "finished":
                directory.refuse_other(run, teacher)
                self.finished[name] = result
                self._data[name] = teacher.data
            else:
                check(teacher)
                own = self.add(teacher)
                self.missing[name] = Job(name=name, recipe=teacher, teachers=own, role="teacher", group=self.group)
        return self._names[key]
