"""What one worker's step of a recipe costs here: the loader, the teachers and the whole, measured apart."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from raykd.bench.timing import ENDLESS, WARM, events, often
from raykd.contract import Batch, Distiller, Placement
from raykd.data.loader import TrainLoader
from raykd.models import create_network
from raykd.models.frozen.freeze import freeze
from raykd.models.staged import parameters
from raykd.recipe import Recipe, Train
from raykd.teachers.frozen_teacher import FrozenTeacher, named
from raykd.teachers.load import load_teachers
from raykd.teachers.outputs import teacher_outputs
from raykd.training import loop, process
from raykd.training.choose_precision import choose
from raykd.training.choose_precision import measure as forms
from raykd.training.setup import Experiment
from raykd.training.state import State, new_state


@dataclass(frozen=True)
class Speed:
    """Seconds a step of one worker, medians; `parts` are those of the whole step: data, teacher, student, …"""

    images: int  # of one step of this worker
    loader: float  # reading alone, nothing else running
    teachers: float  # their forward pass alone on one batch
    first: float  # the first whole step
    whole: float  # real steps, the loader running ahead of them
    parts: dict[str, float]
    forms: dict[str, float] = field(default_factory=dict)  # the teachers' pass, the recipe's own form first

    @property
    def computing(self) -> float:
        """Seconds of a step without waiting for data."""
        return self.whole - self.parts.get("data", 0.0)


def measure(recipe: Recipe, workers: int, device: torch.device, threads: int, seconds: float) -> Speed:
    """Time one of `workers` workers' share of the recipe's steps for about `seconds` a part, in this process.

    No gradients are exchanged. Teachers that would be trained first are taken untrained: they cost the same.
    """
    process.use_cpus(threads)
    with closing(Experiment(recipe, Placement(device, threads, 0, workers))) as experiment:
        experiment.teachers = teachers = placeholder_teachers(recipe, experiment.prepared.classes, device)
        data, distiller = experiment.train_data, experiment.distiller
        batch = next(data.batches(0, 1))
        reading = often(_reader(data, experiment.steps), seconds, device)
        measured = forms(recipe, distiller.to(device), teachers, [batch], device) if teachers else {}
        if measured and recipe.teachers.form == "auto":
            teachers = [replace(teacher, form=choose(measured)) for teacher in teachers]
        asking = often(_asker(experiment, teachers, batch), seconds, device) if teachers else 0.0
        first, whole, parts = _train(recipe, distiller, teachers, data, device, seconds)
        by_form = {str(form): each.seconds for form, each in measured.items()}
        return Speed(len(batch.index), reading, asking, first, whole, parts, by_form)


def run_seconds(recipe: Recipe, placement: Placement, seconds: float) -> float:
    """What all steps of a run take in one worker, by some that are timed for about `seconds`; without evaluations."""
    process.use_cpus(placement.threads)
    with closing(Experiment(recipe, placement)) as experiment:
        experiment.teachers = placeholder_teachers(recipe, experiment.prepared.classes, placement.device)
        steps = events(recipe, experiment.new_state(), experiment.teachers, experiment.train_data, placement.device)
        each = often(lambda: next(steps), seconds, placement.device)
        steps.close()
        return each * experiment.steps


def placeholder_teachers(recipe: Recipe, classes: Sequence[str], device: torch.device) -> list[FrozenTeacher]:
    """The recipe's teachers on the device; those that it would train first are fresh networks of the same shape."""
    found = []
    for source in recipe.teachers.sources:
        if not isinstance(source, Train):
            alone = replace(recipe.teachers, sources=(source,))
            found += load_teachers(alone, recipe.data, classes, [], recipe.method.compares_classes)
            continue
        for seed in source.seeds:
            name = source.recipe.student.name
            fresh = replace(source.recipe.student, weights="")
            network = create_network(fresh, len(classes), recipe.data.image_size)
            size = parameters(network)
            found.append(FrozenTeacher(f"{name}-{seed}", freeze(network), "", size, form=named(recipe.teachers)))
    for teacher in found:
        teacher.network.to(device)
    return found


def _reader(data: TrainLoader, steps: int) -> Callable[[], Any]:
    def stream() -> Iterator[Batch]:
        while True:
            yield from data.batches(0, steps)

    batches = stream()
    return lambda: next(batches)


def _asker(experiment: Experiment, teachers: list[FrozenTeacher], batch: Batch) -> Callable[[], Any]:
    features = experiment.distiller.teacher_features
    return lambda: teacher_outputs(teachers, features, batch.images, experiment.autocast)


def _train(
    recipe: Recipe,
    distiller: Distiller,
    teachers: list[FrozenTeacher],
    data: TrainLoader,
    device: torch.device,
    seconds: float,
) -> tuple[float, float, dict[str, float]]:
    """The first step, the median of whole steps, and the median of each part; real steps of the real loop."""
    state = new_state(recipe, distiller, device)
    steps = events(recipe, state, teachers, data, device)
    start = time.perf_counter()
    next(steps)
    first = time.perf_counter() - start
    whole = often(lambda: next(steps), seconds, device)
    steps.close()
    return first, whole, _laps(recipe, state, teachers, data, device, seconds)


def _laps(
    recipe: Recipe,
    state: State,
    teachers: list[FrozenTeacher],
    data: TrainLoader,
    device: torch.device,
    seconds: float,
) -> dict[str, float]:
    """The median of each part of a step, by the loop's own stopwatch, which waits for the device after each part."""
    recipe = replace(recipe, log_every=1, epochs=ENDLESS)
    laps: list[dict[str, float]] = []
    steps = loop.fit(recipe, state, teachers, data, lambda d: {}, device, lambda step: False)
    often(lambda: laps.append(_times(next(steps))), seconds, device)
    steps.close()
    laps = [lap for lap in laps[WARM:] if lap]  # the end of an interval has none
    return {name: statistics.median(lap[name] for lap in laps) for name in laps[-1]}


def _times(event: loop.Event) -> dict[str, float]:
    values = event.values if isinstance(event, loop.Progress) else {}
    times = {name.removeprefix("time/"): value for name, value in values.items() if name.startswith("time/")}
    return {name: seconds for name, seconds in times.items() if isinstance(seconds, float)}
