"""The teachers of recipes, and those teachers' own teachers: which are finished, which must be trained."""

from dataclasses import dataclass, field

from raykd.launch.driver import run as driver
from raykd.launch.teachers.names import run_in, teacher_recipes
from raykd.launch.trials.queue import Job
from raykd.recipe import Recipe
from raykd.recipe.fingerprint import fingerprint
from raykd.runs import directory
from raykd.runs.results.models import Result
from raykd.runs.results.read import read_result
from raykd.storage.folder import Folder


@dataclass
class TeacherPlan:
    """Teachers of one or several recipes, each once; a missing teacher comes after its own teachers."""

    storage: str
    group: str = ""  # of W&B
    missing: dict[str, Job] = field(default_factory=dict)
    finished: dict[str, Result] = field(default_factory=dict)  # by run name
    _names: dict[str, str] = field(default_factory=dict)  # by fingerprint, as looking up a run reads the storage

    def add(self, recipe: Recipe) -> tuple[str, ...]:
        """Add a recipe's teachers; returns the names of their runs, in the recipe's order.

        Raises UserError for a teacher that can't be trained.
        """
        return tuple(self._add(teacher) for teacher in teacher_recipes(recipe))

    def _add(self, teacher: Recipe) -> str:
        key = fingerprint(teacher)
        if key not in self._names:
            self._names[key] = name = run_in(self.storage, teacher)
            run = Folder(self.storage) / name
            result = read_result(run)
            if result is not None and result.status == "finished":
                directory.refuse_other(run, teacher)
                self.finished[name] = result
            else:
                driver.check(teacher)
                own = self.add(teacher)
                self.missing[name] = Job(name=name, recipe=teacher, teachers=own, role="teacher", group=self.group)
        return self._names[key]
