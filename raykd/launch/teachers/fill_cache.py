"""Teachers' logits written ahead of training: one Ray task for each teacher and pass, side by side."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from raykd import UserError
from raykd.launch.cluster import connection
from raykd.launch.driver import run as job
from raykd.launch.driver.display import Display
from raykd.launch.teachers import train as ensemble
from raykd.recipe import Recipe
from raykd.recipe.load import Loaded
from raykd.recipe.serial import to_dict

if TYPE_CHECKING:
    from raykd.teachers.frozen_teacher import FrozenTeacher
    from raykd.train.setup import Experiment


@dataclass(frozen=True)
class Source:
    """All that a task needs to find the recipe's teachers and batches."""

    recipe: dict[str, Any]
    trained: list[str]  # run directories of the teachers that `Train` sources stand for
    sources: dict[str, str]


@dataclass(frozen=True)
class Plan:
    teachers: list[str]
    passes: int
    said: list[str]


def teach(loaded: Loaded, recipe: Recipe, storage: str, display: Display) -> int:
    """Fill the files of `teachers.cache`; what is there already stays. Returns the number of images run.

    The rows are those of whole global batches, as one worker computes them: with one worker and the same batch size
    training would write the very same bits, with others the same to rounding. Teachers that are missing are trained.
    """
    job.check(recipe)
    if not recipe.teachers.sources or recipe.teachers.cache == "none":
        raise UserError(
            "teachers.cache: nothing is to be kept; name teachers, and a cache, e.g. --teachers.cache float16"
        )
    trained = ensemble.ensure(loaded, recipe, storage, display)
    one = replace(recipe, workers=min(1, connection.workers_of(recipe)[0]))
    source = Source(to_dict(one), trained, loaded.sources)
    if one.workers == 0:
        return _fill(source, display, lambda call, arguments: (call(*each) for each in arguments))
    from raykd.data.staging import publish

    publish(recipe.data, display.note)
    with connection.connected():
        connection.check_room(one)
        return _fill(source, display, _tasks(one))


def _fill(source: Source, display: Display, run: Callable[[Callable, Sequence[tuple]], Iterator[Any]]) -> int:
    (found,) = run(plan, [(source,)])
    for line in found.said:
        display.note(line)
    work = [(source, k, epoch) for epoch in range(found.passes) for k in range(len(found.teachers))]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    images, nodes = 0, set()
    with Progress(*columns, console=display.console) as progress:
        bar = progress.add_task("teachers × passes", total=len(work))
        for count, node in run(fill, work):
            images += count
            nodes.add(node)
            progress.advance(bar)
    if len(nodes) > 1:
        display.note(
            f"data.root must be a folder that all nodes share: logits were written by {', '.join(sorted(nodes))}"
        )
    return images


def _tasks(recipe: Recipe) -> Callable[[Callable, Sequence[tuple]], Iterator[Any]]:
    """Calls as Ray tasks with a worker's resources: as many at once as there is room for, in order of completion."""
    import ray

    from raykd.launch.trials.tuner import of_task

    def run(call: Callable, arguments: Sequence[tuple]) -> Iterator[Any]:
        task = ray.remote(**of_task(recipe))(call)
        waiting = [task.remote(*each) for each in arguments]
        while waiting:
            (ready,), waiting = ray.wait(waiting)
            try:
                yield ray.get(ready)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None

    return run


def plan(source: Source) -> Plan:
    """What there is to do, and what is to be said before anything is written."""
    said: list[str] = []
    with _opened(source, said.append) as (experiment, teachers):
        return Plan([teacher.name for teacher in teachers], math.ceil(experiment.recipe.epochs), said)


def fill(source: Source, k: int, epoch: int) -> tuple[int, str]:
    """Write teacher k's logits of one pass where they are missing; returns images run, and this node's name."""
    import socket

    from raykd.teachers.outputs import ask

    images = 0
    with _opened(source, lambda line: None) as (experiment, teachers):
        teacher, data = teachers[k], experiment.train_data
        for start, stop in _missing(experiment, teacher, epoch):
            for batch, tags in zip(data.batches(start, stop), data.tags(start, stop), strict=True):
                ask([teacher], [()], batch.images, experiment.autocast, tags)
                images += len(tags)
    return images, socket.gethostname()


def _missing(experiment: "Experiment", teacher: "FrozenTeacher", epoch: int) -> list[tuple[int, int]]:
    """Ranges of the steps that begin in a pass and have a row that nobody has written."""
    data = experiment.train_data
    first, last = (-(-e * data.size // experiment.recipe.batch_size) for e in (epoch, epoch + 1))
    steps = range(first, min(last, experiment.steps))
    wanted = [step for step in steps if teacher.kept.missing(data.tags(step, step + 1)[0]).any()]
    runs = groupby(enumerate(wanted), key=lambda pair: pair[1] - pair[0])
    return [(run[0][1], run[-1][1] + 1) for _, group in runs for run in [list(group)]]


@contextmanager
def _opened(source: Source, say: Callable[[str], None]) -> "Iterator[tuple[Experiment, list[FrozenTeacher]]]":
    """The experiment as one worker opens it, and its teachers with their caches."""
    from raykd.launch.job_spec import unpack
    from raykd.recipe.serial import from_dict
    from raykd.teachers.logit_cache import keep
    from raykd.train.process import use_cpus
    from raykd.train.setup import Experiment, single

    unpack(source.sources)
    recipe = from_dict(source.recipe)
    use_cpus(recipe.cpus_per_worker)
    with closing(Experiment(recipe, single(recipe), source.trained, say)) as experiment:
        features, data = experiment.distiller.teacher_features, experiment.train_data
        yield experiment, keep(experiment.teachers, recipe, features, data, say)
