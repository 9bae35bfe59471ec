"""A whole update and a whole evaluation of the training loop on a simulated GPU."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import torch

from raykd.contract import Batch, Placement
from raykd.models import create
from raykd.models.config import Network
from raykd.models.frozen.freeze import freeze
from raykd.models.staged import Staged, parameters
from raykd.recipe import Recipe
from raykd.recipes.digits.supervised import recipe as digits
from raykd.teachers.frozen_teacher import FrozenTeacher, TeacherPrecision
from raykd.training.evaluation import evaluate
from raykd.training.setup import build_distiller
from raykd.training.update.state import new_state
from raykd.training.update.step import StepContext, update, wrap
from tests.support.every_method import Case
from tests.support.simulated_gpu import CUDA, Trace, simulated_gpu


@dataclass(frozen=True)
class Sizes:
    batch: int = 8
    classes: int = 10
    image: int = 32


class Data:
    """As much of a TrainLoader as a step asks for."""

    size, mixes = 50_000, False


def frozen(network: Staged, form: TeacherPrecision = TeacherPrecision()) -> FrozenTeacher:
    return FrozenTeacher(network.name, freeze(network), "", parameters(network), precision=form)


@contextlib.contextmanager
def running(
    case: Case,
    sizes: Sizes,
    step: int = 100_000,
    form: TeacherPrecision = TeacherPrecision(),
    backward: bool = True,
    **changes: Any,
) -> Iterator[StepContext]:
    """Inside a simulated GPU, a run of a method just before update number `step`; `changes` are the recipe's."""
    recipe: Recipe = replace(
        digits, method=case.config, student=Network(name=case.student), batch_size=sizes.batch, epochs=240, **changes
    )
    recipe = replace(recipe, data=replace(recipe.data, image_size=sizes.image))
    teachers = [frozen(network(name, sizes), form) for name in case.teachers]
    distiller = build_distiller(recipe, teachers, sizes.classes, recipe.seed)
    distiller.set_training_labels(torch.arange(Data.size) % sizes.classes)
    with simulated_gpu(backward):
        for teacher in teachers:
            teacher.network.to(CUDA)
        state = new_state(recipe, distiller, CUDA)
        state.step = step
        run = StepContext(recipe, state, wrap(recipe, state.distiller, CUDA), teachers, Data(), Placement(CUDA, 1))
        run.model.train()
        yield run


def network(name: str, sizes: Sizes) -> Staged:
    return create(name, sizes.classes, sizes.image)


def batch(sizes: Sizes, mixed: bool = False) -> Batch:
    """On the simulated GPU."""
    images = torch.empty(sizes.batch, 3, sizes.image, sizes.image, device=CUDA)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(sizes.batch, dtype=torch.int64, device=CUDA)
    soft = torch.empty(sizes.batch, sizes.classes, device=CUDA)
    return Batch(images, soft if mixed else labels, torch.arange(sizes.batch, device=CUDA))


def traced_update(run: StepContext, sizes: Sizes, mixed: bool = False) -> Trace:
    """A trace of the second update, including the meter; the first one allocates memory."""
    given = batch(sizes, mixed)
    for _ in range(2):
        with Trace() as trace:
            step, norm, _ = update(run, given)
            run.state.meter.add(step, norm, sizes.batch, sizes.batch)
        run.state.step += 1
    return trace


def traced_evaluation(run: StepContext, sizes: Sizes, batches: int = 3) -> Trace:
    """A trace of evaluation batches, next to a teacher's logits in host memory."""
    taught = {"a teacher": [torch.zeros(sizes.batch, sizes.classes)] * batches}
    evaluated = run.state.evaluated
    evaluated.eval()
    without_numbers = mock.patch.object(evaluate, "figures", lambda *sums: None)
    with without_numbers, Trace() as trace:
        evaluate.evaluate(evaluated.predict, [batch(sizes)] * batches, run.context, taught, evaluated.measure)
    return trace


__all__ = ["Data", "Sizes", "batch", "frozen", "network", "running", "traced_evaluation", "traced_update"]
