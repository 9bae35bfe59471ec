"""Measures one worker's step of a recipe on this machine: the loader, the teachers and the whole step, apart."""

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from raykd.bench.timing import WARM_UP, median_time, training_steps
from raykd.contract import Batch, Placement
from raykd.models import create_network
from raykd.models.frozen.freeze import freeze
from raykd.models.staged import parameters
from raykd.recipe import Recipe, Train
from raykd.teachers.frozen_teacher import FrozenTeacher, recipe_precision
from raykd.teachers.load import load_teachers
from raykd.teachers.outputs import teacher_outputs
from raykd.training import loop, process
from raykd.training.choose_precision import choose
from raykd.training.choose_precision import measure as measure_precisions
from raykd.training.setup import Experiment
from raykd.training.update.state import State


@dataclass(frozen=True)
class Speed:
    """Median seconds of one worker's steps; `parts` are those of a whole step: data, teacher, student, …"""

    images: int  # of one step of this worker
    loader: float  # reading alone, with nothing else running
    teachers: float  # their forward pass alone, on one batch
    first: float  # the first whole step
    whole: float  # real steps, with the loader reading ahead
    parts: dict[str, float]
    by_precision: dict[str, float] = field(default_factory=dict)  # the teachers' pass, the recipe's precision first

    @property
    def computing(self) -> float:
        """Seconds of a step without waiting for data."""
        return self.whole - self.parts.get("data", 0.0)


def measure(recipe: Recipe, workers: int, device: torch.device, threads: int, seconds: float) -> Speed:
    """Time one of `workers` workers' share of the recipe's steps for about `seconds` a part, in this process.

    No gradients are exchanged. Teachers that would be trained first are replaced by untrained ones of the same cost.
    """
    experiment = _experiment(recipe, Placement(device, threads, 0, workers))
    batch = next(experiment.train_data.batches(0, 1))
    batches = _endless(experiment)
    loader = median_time(lambda: next(batches), seconds, device)
    by_precision: dict[str, float] = {}
    teachers = 0.0
    if experiment.teachers:
        distiller = experiment.distiller.to(device)
        measured = measure_precisions(recipe, distiller, experiment.teachers, [batch], device)
        if recipe.teachers.form == "auto":
            experiment.teachers = [replace(each, precision=choose(measured)) for each in experiment.teachers]
        by_precision = {str(each): result.seconds for each, result in measured.items()}
        arguments = experiment.teachers, distiller.teacher_features, batch.images, experiment.autocast
        teachers = median_time(partial(teacher_outputs, *arguments), seconds, device)
    first, whole, parts = _train(experiment, seconds)
    return Speed(len(batch.index), loader, teachers, first, whole, parts, by_precision)


def run_seconds(recipe: Recipe, placement: Placement, seconds: float) -> float:
    """The duration in seconds of all steps of a run in one worker, without evaluations.

    Extrapolated from steps that are timed for about `seconds`.
    """
    experiment = _experiment(recipe, placement)
    steps = training_steps(experiment, experiment.new_state())
    each = median_time(lambda: next(steps), seconds, placement.device)
    steps.close()
    return each * experiment.steps


def _experiment(recipe: Recipe, placement: Placement) -> Experiment:
    """One worker's experiment in this process, with `placeholder_teachers`."""
    process.use_cpus(placement.threads)
    experiment = Experiment(recipe, placement)
    experiment.teachers = placeholder_teachers(recipe, experiment.prepared.classes, placement.device)
    return experiment


def placeholder_teachers(recipe: Recipe, classes: Sequence[str], device: torch.device) -> list[FrozenTeacher]:
    """The recipe's teachers on the device, with fresh networks for those that it would train first."""
    teachers = []
    for source in recipe.teachers.sources:
        if not isinstance(source, Train):
            alone = replace(recipe.teachers, sources=(source,))
            teachers += load_teachers(alone, recipe.data, classes, [], recipe.method.compares_classes)
            continue
        for seed in source.seeds:
            name = source.recipe.student.name
            fresh = replace(source.recipe.student, weights="")
            network = create_network(fresh, len(classes), recipe.data.image_size)
            size, precision = parameters(network), recipe_precision(recipe.teachers)
            teachers.append(FrozenTeacher(f"{name}-{seed}", freeze(network), "", size, precision=precision))
    for teacher in teachers:
        teacher.network.to(device)
    return teachers


def _endless(experiment: Experiment) -> Iterator[Batch]:
    while True:
        yield from experiment.train_data.batches(0, experiment.steps)


def _train(experiment: Experiment, seconds: float) -> tuple[float, float, dict[str, float]]:
    """The first step, the median of whole steps, and the median of each part, of the real loop."""
    state = experiment.new_state()
    steps = training_steps(experiment, state)
    start = time.perf_counter()
    next(steps)
    first = time.perf_counter() - start
    whole = median_time(lambda: next(steps), seconds, experiment.placement.device)
    steps.close()
    return first, whole, _parts(experiment, state, seconds)


def _parts(experiment: Experiment, state: State, seconds: float) -> dict[str, float]:
    """The median of each part of a step, by the loop's own stopwatch, which waits for the device after each part."""
    parts: list[dict[str, float]] = []
    steps = training_steps(experiment, state, logged=True)
    median_time(lambda: parts.append(_times(next(steps))), seconds, experiment.placement.device)
    steps.close()
    parts = [each for each in parts[WARM_UP:] if each]  # the end of an interval has none
    return {name: statistics.median(each[name] for each in parts) for name in parts[-1]}


def _times(event: loop.Event) -> dict[str, float]:
    values = event.values if isinstance(event, loop.Progress) else {}
    times = {name.removeprefix("time/"): value for name, value in values.items() if name.startswith("time/")}
    return {name: seconds for name, seconds in times.items() if isinstance(seconds, float)}
