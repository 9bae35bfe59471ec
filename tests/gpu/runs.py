"""Short runs of every method on a device: real networks of small images that a seed makes."""

from dataclasses import replace
from functools import cache

import torch

from raykd.contract import Batch, Placement
from raykd.models import create
from raykd.models.config import Network
from raykd.models.frozen.freeze import freeze
from raykd.models.staged import parameters
from raykd.recipes.digits.supervised import recipe as digits
from raykd.teachers.frozen_teacher import FrozenTeacher, TeacherPrecision
from raykd.training.setup import build_distiller
from raykd.training.update.state import new_state
from raykd.training.update.step import StepContext, update, wrap
from tests.support import every_method

BATCH, CLASSES, SIZE, SAMPLES = 16, 10, 32, 320
METHODS = every_method.configs()


class Data:
    """Batches that are functions of their step; as much of a TrainLoader as the loop asks for."""

    size, classes, mixes = SAMPLES, CLASSES, False

    def __init__(self, device):
        self.device = device

    def batch(self, step: int) -> Batch:
        generator = torch.Generator().manual_seed(step)
        images = torch.randn(BATCH, 3, SIZE, SIZE, generator=generator)
        labels = torch.randint(CLASSES, (BATCH,), generator=generator)
        index = torch.arange(BATCH) + step * BATCH % SAMPLES
        images = images.contiguous(memory_format=torch.channels_last)
        return Batch(*(tensor.to(self.device) for tensor in (images, labels, index)))

    def batches(self, start: int, stop: int):
        for step in range(start, stop):
            yield self.batch(step)


def network(name: str):
    return create(name, CLASSES, SIZE)


@cache
def case_of(name: str):
    return every_method.case_of(METHODS[name], network, ("resnet8", "cifar_resnet18"), "resnet8x4")


def running(name: str, device, form: TeacherPrecision = TeacherPrecision(), seed: int = 0, **changes) -> StepContext:
    """A run before its first step, the same numbers on every device."""
    case = case_of(name)
    what = {"method": case.config, "student": Network(name=case.student), "batch_size": BATCH, "epochs": 40}
    recipe = replace(digits, **what, seed=seed, **changes)
    recipe = replace(recipe, data=replace(recipe.data, image_size=SIZE))
    teachers = []
    for k, each in enumerate(case.teachers):
        torch.manual_seed(100 + k)
        made = freeze(network(each))
        teachers.append(FrozenTeacher(f"{each}-{k}", made, "", parameters(made), precision=form))
    distiller = build_distiller(recipe, teachers, CLASSES, recipe.seed)
    distiller.set_training_labels(torch.arange(SAMPLES) % CLASSES)
    for teacher in teachers:
        teacher.network.to(device)
    state = new_state(recipe, distiller, device)
    run = StepContext(
        recipe, state, wrap(recipe, state.distiller, device), teachers, Data(device), Placement(device, 1)
    )
    run.model.train()
    return run


def step(run: StepContext, batch: Batch | None = None) -> dict[str, torch.Tensor]:
    """One update; the terms, on the device."""
    batch = run.data.batch(run.state.step) if batch is None else batch
    found, norm, _ = update(run, batch)
    run.state.step += 1
    run.state.meter.add(found, norm, len(batch.index), BATCH)
    return found.terms


def losses(run: StepContext, steps: int) -> list[float]:
    return [sum(term.item() for term in step(run).values()) for _ in range(steps)]


def weights(run: StepContext) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().clone() for name, value in run.state.evaluated.state_dict().items()}


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
