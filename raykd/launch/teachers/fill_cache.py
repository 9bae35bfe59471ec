"""Teachers' logits written ahead of training: one Ray task for each teacher and pass, side by side."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
    from raykd.data.loader import TrainLoader
    from raykd.teachers.frozen_teacher import FrozenTeacher


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
    with _opened(source, said.append) as (recipe, data, teachers, device):
        return Plan([teacher.name for teacher in teachers], int(-(-recipe.epochs // 1)), said)


def fill(source: Source, k: int, epoch: int) -> tuple[int, str]:
    """Write teacher k's logits of one pass where they are missing; returns images run, and this node's name."""
    import socket

    from raykd.teachers.outputs import ask
    from raykd.teachers.precision import autocast

    images = 0
    with _opened(source, lambda line: None) as (recipe, data, teachers, device):
        teacher, context = teachers[k], autocast(recipe, device)
        teacher.network.to(device)
        for start, stop in _missing(recipe, data, teacher, epoch):
            rows = zip(data.batches(start, stop), data.tags(start, stop), strict=True)
            for batch, tags in rows:
                ask([teacher], [()], batch.images, context, tags)
                images += len(tags)
    return images, socket.gethostname()


def _missing(recipe: Recipe, data: "TrainLoader", teacher: "FrozenTeacher", epoch: int) -> list[tuple[int, int]]:
    """Ranges of the steps that begin in a pass and have a row that nobody has written."""
    from raykd.recipe.length import total_steps

    first, last = (-(-e * data.size // recipe.batch_size) for e in (epoch, epoch + 1))
    steps = range(first, min(last, total_steps(recipe, data.size)))
    wanted = [step for step in steps if teacher.kept.missing(data.tags(step, step + 1)[0]).any()]
    runs = groupby(enumerate(wanted), key=lambda pair: pair[1] - pair[0])
    return [(run[0][1], run[-1][1] + 1) for _, group in runs for run in [list(group)]]


@contextmanager
def _opened(source: Source, say: Callable[[str], None]) -> "Iterator[tuple]":
    """The recipe, its training batches as one worker reads them, its teachers with their files, and the device."""
    import torch

    from raykd.data.loader import TrainLoader
    from raykd.data.staging import stage
    from raykd.data.storage.prepare import normalised, prepare
    from raykd.launch.trials.trial import unpack
    from raykd.launch.worker.worker import use_cpus
    from raykd.recipe.serial import from_dict
    from raykd.teachers.load import load_teachers
    from raykd.teachers.logit_cache import keep
    from raykd.train.setup import build_distiller

    unpack(source.sources)
    recipe = from_dict(source.recipe)
    threads = max(1, recipe.cpus_per_worker)
    use_cpus(threads)
    device = torch.device("cuda" if recipe.gpus_per_worker else "cpu")
    stage(recipe.data, say)
    prepared = prepare(recipe.data)
    recipe = replace(recipe, data=normalised(recipe.data, prepared))
    place = {"rank": 0, "world": 1, "device": device, "threads": threads}
    place |= {"batch_size": recipe.batch_size, "seed": recipe.seed, "channels_last": recipe.precision.channels_last}
    with ExitStack() as stack:
        data = TrainLoader(recipe.data, prepared, **place)
        stack.callback(data.close)
        teachers = load_teachers(
            recipe.teachers, recipe.data, prepared.classes, source.trained, recipe.method.compares_classes
        )
        distiller = build_distiller(recipe, teachers, len(prepared.classes), recipe.seed)
        yield recipe, data, keep(teachers, recipe, distiller.teacher_features, data, say), device
