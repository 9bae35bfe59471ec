"""Precomputes teacher outputs: parallel Ray tasks, each for a range of steps."""

import math
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from raykd import UserError
from raykd.data.storage.staging import publish
from raykd.launch.cluster.capacity import check_capacity, workers_of
from raykd.launch.cluster.connection import connected
from raykd.launch.driver.display import Display
from raykd.launch.driver.run_plan import RunPlan
from raykd.launch.driver.validate import check
from raykd.launch.teachers.train import ensure
from raykd.launch.trials.tasks import ExperimentSpec, run_tasks
from raykd.recipe import Recipe
from raykd.teachers.frozen_teacher import Cache, FrozenTeacher

if TYPE_CHECKING:
    from raykd.training.setup import Experiment


PIECES = 64  # tasks, of at least one pass each: each opens data and teachers, and is one tick of the progress bar


@dataclass(frozen=True)
class Division:
    """The division of the work into tasks."""

    pieces: list[tuple[int, int]]  # first step and end (exclusive) of each task
    notices: list[str]


@dataclass(frozen=True)
class Filled:
    """The result of one task."""

    steps: int
    images: int  # run, of each teacher
    node: str
    notices: list[str]


def teach(plan: RunPlan) -> int:
    """Fill the caches of the recipe's teachers; intact entries stay. Returns the number of images computed.

    Outputs are computed for whole global batches, as with one worker: training with one worker and the same batch size
    would write identical bits, otherwise equal ones up to rounding. Missing teachers are trained first.
    Raises UserError if the recipe has no teachers or no cache.
    """
    recipe, display = plan.recipe, plan.display
    check(recipe)
    if not recipe.teachers.sources or recipe.teachers.cache == "none":
        raise UserError("teachers.cache: nothing to fill; set teachers and a cache, e.g. --teachers.cache float16")
    one = replace(recipe, workers=min(1, workers_of(recipe)[0]))
    spec = ExperimentSpec.of(one, ensure(plan), plan.loaded.sources)
    if one.workers == 0:
        return _fill(one, spec, display)
    publish(recipe.data, display.note)
    with connected():
        check_capacity(one)
        return _fill(one, spec, display)


def _fill(recipe: Recipe, spec: ExperimentSpec, display: Display) -> int:
    (planned,) = run_tasks(recipe, divide, [(spec,)])
    for line in planned.notices:
        display.note(line)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    images, nodes = 0, set()
    with Progress(*columns, console=display.console) as progress:
        bar = progress.add_task("steps of training", total=max(stop for _, stop in planned.pieces))
        for done in run_tasks(recipe, fill, [(spec, *piece) for piece in planned.pieces]):
            images += done.images
            nodes.add(done.node)
            for line in done.notices:
                display.note(line)
            progress.advance(bar, done.steps)
    if len(nodes) > 1:
        display.note(
            f"data.root must be a folder that all nodes share: the cache was written by {', '.join(sorted(nodes))}"
        )
    return images


def divide(spec: ExperimentSpec) -> Division:
    """The work to do, and the messages to show before anything is written."""
    notices: list[str] = []
    with _opened(spec, notices.append, notices.append) as (experiment, _):
        data, recipe = experiment.train_data, experiment.recipe
        steps = min(experiment.steps, data.period or experiment.steps)
        each = max(data.size // recipe.batch_size, math.ceil(steps / PIECES), 1)
        return Division([(first, min(first + each, steps)) for first in range(0, steps, each)], notices)


def fill(spec: ExperimentSpec, start: int, stop: int) -> Filled:
    """Compute the outputs that are missing or damaged for the images of some steps."""
    from raykd.teachers.outputs import teacher_outputs

    notices: list[str] = []
    images = 0
    with _opened(spec, lambda line: None, notices.append) as (experiment, teachers):
        data, features = experiment.train_data, experiment.distiller.teacher_features or [()] * len(teachers)
        for first, last in _missing(data, teachers, start, stop):
            for batch, at in zip(data.batches(first, last), data.addresses(first, last), strict=True):
                empty = [k for k, teacher in enumerate(teachers) if not _cache(teacher).holds(at)]
                requests = [teachers[k] for k in empty], [features[k] for k in empty]
                teacher_outputs(*requests, batch.images, experiment.autocast, at)
                images += len(at) * len(empty)
    return Filled(stop - start, images, socket.gethostname(), notices)


def _cache(teacher: FrozenTeacher) -> Cache:
    assert teacher.cache is not None  # `_opened` attaches a cache to every teacher
    return teacher.cache


def _missing(data: Any, teachers: Sequence[FrozenTeacher], start: int, stop: int) -> list[tuple[int, int]]:
    """Ranges of steps with an image for which a teacher's output is missing."""
    at = data.addresses(start, stop)
    steps = [step for step in range(start, stop) if not all(_cache(t).holds(at[step - start]) for t in teachers)]
    runs = groupby(enumerate(steps), key=lambda pair: pair[1] - pair[0])
    return [(run[0][1], run[-1][1] + 1) for _, group in runs for run in [list(group)]]


@contextmanager
def _opened(
    spec: ExperimentSpec, notify: Callable[[str], None], warn: Callable[[str], None]
) -> "Iterator[tuple[Experiment, list[FrozenTeacher]]]":
    """Context with the experiment as one worker opens it, and teachers with caches, which are flushed at the end.

    notify: called with the size of the caches. warn: called for damaged files.
    """
    from raykd.teachers.cache.attach import attach_cache
    from raykd.teachers.cache.write_behind import WriteBehind

    experiment = spec.open(warn)
    with closing(WriteBehind(warn)) as writer:
        features, data = experiment.distiller.teacher_features, experiment.train_data
        yield experiment, attach_cache(experiment.teachers, experiment.recipe, features, data, writer, notify)
