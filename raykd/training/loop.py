"""The training loop of all methods: a generator, independent of Ray. All workers run it in lockstep."""

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from raykd.contract import Distiller, Output, Placement, Step, global_sum
from raykd.data.device.fetch import fetch
from raykd.recipe import Recipe
from raykd.recipe.length import epoch_at, epoch_end, initial_steps
from raykd.teachers.frozen_teacher import FrozenTeacher
from raykd.training.update.meters import Meter
from raykd.training.update.state import State
from raykd.training.update.step import StepContext, update, wrap


@dataclass(frozen=True)
class Progress:
    """Every `log_every` steps: the values of this worker's last step."""

    step: int
    steps: int
    epoch: float
    values: dict[str, float | list[float]]


@dataclass(frozen=True)
class Epoch:
    """The end of an evaluation interval: means over the interval and all workers; a checkpoint is due after it.

    In the initialise phase its line has no evaluation.
    """

    step: int
    epoch: float
    line: dict[str, Any]


@dataclass(frozen=True)
class Save:
    """A checkpoint is due inside an evaluation interval."""

    step: int
    epoch: float


Event = Progress | Epoch | Save


def fit(
    recipe: Recipe,
    state: State,
    teachers: Sequence[FrozenTeacher],
    data: Any,
    evaluate: Callable[[Distiller], dict[str, Any]],
    placement: Placement,
    save_due: Callable[[int], bool],
    remote: Callable[[int], list[list[Output]]] | None = None,
) -> Generator[Event, None, None]:
    """Train from `state.step` to the end of the recipe; yields events.

    data: a TrainLoader, whose `batches(start, stop)` gives this worker's part of each global batch.
    evaluate: returns the metrics of a distiller's networks, over all workers, as plain numbers.
    save_due: called after each step with the number of finished steps; True yields `Save`.
    remote: returns the outputs of remote teachers for each part (see `split_batch`) of a step's batch, on the CPU.
    """
    model = wrap(recipe, state.distiller, placement.device)
    run = StepContext(recipe, state, model, teachers, data, placement, remote)
    while state.step < run.steps and not (recipe.patience and state.waited >= recipe.patience):
        stop = _interval_end(recipe, state.step, data.size)
        initialising = state.enter(state.step < initial_steps(recipe, data.size))
        yield from _interval(run, stop, save_due)
        line = {"epoch": round(run.epoch(stop), 6), "step": stop, **state.meter.means(global_sum, placement.device)}
        state.meter = Meter()
        if initialising:  # networks are not usable before their training
            yield Epoch(stop, run.epoch(stop), line | {"phase": "initialise"})
            continue
        share_buffers(state.evaluated)
        line |= evaluate(state.evaluated)
        top1 = {name: figures["top1"] for name, figures in line.get("evaluation", {}).items()}
        if top1:
            line["selection"] = state.evaluated.selects(top1)
        if recipe.patience:
            state.count_evaluation(line["selection"])
        yield Epoch(stop, run.epoch(stop), line)


def share_buffers(module: nn.Module) -> None:
    """Broadcast rank 0's buffers: otherwise each worker would evaluate with its own batch statistics.

    In training each worker has its own, and rank 0's are saved. Counters that stay on the CPU beside a GPU (see
    `count_on_host`) are equal on all workers.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        device = next(module.parameters()).device
        for buffer in module.buffers():
            if buffer.device == device:
                torch.distributed.broadcast(buffer, src=0)


def _interval_end(recipe: Recipe, step: int, size: int) -> int:
    """The first evaluation step after `step`."""
    passed = math.floor(epoch_at(step, recipe, size))
    epoch = (passed // recipe.evaluate_every + 1) * recipe.evaluate_every
    end = epoch_end(epoch, recipe, size)
    return end if end > step else epoch_end(epoch + recipe.evaluate_every, recipe, size)


def _interval(run: StepContext, stop: int, save_due: Callable[[int], bool]) -> Iterator[Event]:
    """Steps state.step … stop − 1."""
    state = run.state
    run.model.train()
    state.meter.begin()
    for batch in run.data.batches(state.step, stop):
        logged = (state.step + 1) % run.recipe.log_every == 0 or state.step + 1 == stop
        run.watch.start(logged)
        step, norm, rate = update(run, batch)
        state.step += 1
        state.meter.add(step, norm, len(batch.index), run.recipe.batch_size)
        if logged:
            timing = run.watch.stop()
            state.meter.timed(timing, rate)
            run.expect_trained_classifier()
            yield Progress(state.step, run.steps, run.epoch(state.step), _values(step, norm, rate, timing))
        if state.step < stop and save_due(state.step):
            run.check.last()  # a GPU's last step is still unchecked, and no checkpoint may hold what it broke
            yield Save(state.step, run.epoch(state.step))
    run.check.last()


def _values(step: Step, norm: Tensor, rate: float, timing: dict[str, float]) -> dict[str, float | list[float]]:
    """Plain numbers of one step; the device syncs here."""
    terms = {f"terms/{name}": fetch(value) for name, value in step.terms.items()}
    notes = {f"notes/{name}": fetch(value) for name, value in step.notes.items()}
    times = {f"time/{name}": value for name, value in timing.items()}
    return {"loss": sum(terms.values()), "learning_rate": rate, "gradient_norm": fetch(norm), **terms, **notes, **times}
