"""Ray tasks, with the resources of a worker, that use a recipe's data and teachers without training."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray

from raykd.launch.cluster.capacity import task_options
from raykd.launch.job_spec import unpack
from raykd.recipe import Recipe
from raykd.recipe.serial import from_dict, to_dict

if TYPE_CHECKING:
    from raykd.training.setup import Experiment


@dataclass(frozen=True)
class ExperimentSpec:
    """What a task needs to open a recipe's data and teachers: plain values, like a JobSpec's."""

    recipe: dict[str, Any]
    trained: Sequence[str]  # run directories of the teachers that `Train` sources stand for
    sources: dict[str, str]  # the user's modules: path → text

    @staticmethod
    def of(recipe: Recipe, trained: Sequence[str], sources: dict[str, str]) -> "ExperimentSpec":
        return ExperimentSpec(to_dict(recipe), trained, sources)

    def open(self, notify: Callable[[str], None] = lambda line: None) -> "Experiment":
        """The experiment as a process without other workers opens it; notify: told of copied files."""
        from raykd.training.setup import open_alone

        unpack(self.sources)
        return open_alone(from_dict(self.recipe), self.trained, notify)


def run_tasks(recipe: Recipe, call: Callable[..., Any], arguments: Sequence[tuple]) -> Iterator[Any]:
    """Results of calls in order of completion, as many at once as fit; with `workers=0` in this process, in order."""
    if recipe.workers == 0:
        yield from (call(*each) for each in arguments)
        return
    task = ray.remote(**task_options(recipe))(call)
    waiting = [task.remote(*each) for each in arguments]
    while waiting:
        (ready,), waiting = ray.wait(waiting)
        try:
            yield ray.get(ready)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
