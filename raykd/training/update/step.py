"""One training step: teachers, forward and backward pass, the optimizer's update."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from raykd.contract import Batch, Distiller, Output, Placement, Step
from raykd.losses import full_precision, total
from raykd.recipe import Recipe
from raykd.recipe.length import epoch_at, total_steps
from raykd.teachers.frozen_teacher import FrozenTeacher
from raykd.teachers.outputs import output_to_device, split_batch, teacher_outputs
from raykd.teachers.precision import autocast
from raykd.training.update import optim
from raykd.training.update.meters import Stopwatch
from raykd.training.update.nonfinite import FiniteCheck, skip
from raykd.training.update.state import State, seed_step
from raykd.training.update.untrained import expect_registered, expect_trained_classifier


def wrap(recipe: Recipe, distiller: Distiller, device: torch.device) -> nn.Module:
    """The module that the loop calls: the distiller, compiled if the recipe says so, in DDP with several workers.

    The compiled distiller is inside DDP, whose compiler backend splits its graph at DDP's buckets, so that a bucket is
    reduced over the workers during the backward pass; compiling around DDP would only add graph breaks.
    `find_unused_parameters`: a method may skip modules for a while (CA-MKD's features in the first epoch). DDP then
    never rebuilds its buckets either, so a resumed run sums gradients in the same order as an uninterrupted one.
    Buffers are not synchronised in training, except for methods that read them: that would cost a tenth of a step.
    """
    module = cast(nn.Module, torch.compile(distiller)) if recipe.precision.compile else distiller
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        devices = [device.index] if device.type == "cuda" else None
        elsewhere = [name for name, buffer in module.named_buffers() if buffer.device != device]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, elsewhere)
        return DistributedDataParallel(
            module,
            device_ids=devices,
            find_unused_parameters=True,
            gradient_as_bucket_view=True,
            broadcast_buffers=distiller.reads_buffers,
        )
    return module


@dataclass
class StepContext:
    """Everything that the steps of a run use on this worker."""

    recipe: Recipe
    state: State
    model: nn.Module  # the wrapped distiller, see `wrap`
    teachers: Sequence[FrozenTeacher]
    data: Any  # a TrainLoader
    placement: Placement
    remote: Callable[[int], list[list[Output]]] | None = None  # see `fit`

    def __post_init__(self) -> None:
        self.steps = total_steps(self.recipe, self.data.size)
        self.context = autocast(self.recipe, self.placement.device)
        self.check = FiniteCheck(self.recipe, self.state, self.placement.rank)
        self.watch = Stopwatch(self.placement.device)
        self.reads_cache = any(teacher.cache is not None for teacher in self.teachers)
        self._classifier_trains = False
        self._registered: set[bool] = set()

    def expect_registered(self, loss: Tensor) -> None:
        """Check it once in each phase."""
        if self.state.initialising not in self._registered:
            expect_registered(loss, self.state.distiller, type(self.state.distiller).__name__)
            self._registered.add(self.state.initialising)

    def expect_trained_classifier(self) -> None:
        """Check it once; not by a step at epoch 0, where a weight that grows with the epoch is still 0."""
        if not self._classifier_trains and self.epoch(self.state.step - 1) > 0:
            expect_trained_classifier(self.state.distiller, type(self.state.distiller).__name__)
            self._classifier_trains = True

    def epoch(self, step: int) -> float:
        """The number of passes over the training split before a step."""
        return epoch_at(step, self.recipe, self.data.size)


def update(run: StepContext, batch: Batch) -> tuple[Step, Tensor, float]:
    """One optimizer step on this worker's part of a global batch: returns terms, gradient norm and learning rate."""
    recipe, state = run.recipe, run.state
    rate = optim.learning_rate(recipe, state.step, run.data.size)
    optimizer = state.active_optimizer
    for group in optimizer.param_groups:
        group["lr"] = rate
    seed_step(recipe.seed, state.step, run.placement.rank)
    optimizer.zero_grad(set_to_none=True)
    parts = list(split_batch(batch, recipe.accumulate))
    addresses = run.data.addresses(state.step, state.step + 1)[0] if run.reads_cache else None
    chunks = [None] * len(parts) if addresses is None else np.array_split(addresses, len(parts))
    remote = run.remote(state.step) if run.remote is not None else [None] * len(parts)
    steps = []
    for i, part in enumerate(parts):
        with _unsynced(run.model) if i < len(parts) - 1 else contextlib.nullcontext():
            steps.append((len(part.index), _backward(run, part, chunks[i], remote[i])))
    norm = _clip(recipe, state)
    run.check.gradient(norm, batch)
    if norm.device.type == "cuda" and not state.scaler.is_enabled():
        skip(optimizer, norm)
    state.scaler.step(optimizer)
    state.scaler.update()
    if state.ema is not None and not state.initialising:
        state.ema.update(state.distiller)
    run.watch.lap("optimizer")
    return _mean(steps), norm, rate


def _unsynced(model: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Context that defers the reduction of gradients over workers until the batch's last part."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else contextlib.nullcontext()


def _backward(run: StepContext, part: Batch, addresses: np.ndarray | None, remote: list[Output] | None) -> Step:
    """Teachers, forward and backward pass of a part of the batch; accumulates gradients.

    remote: outputs of remote teachers; None: run the teachers here, or read their caches at addresses [B].
    """
    state = run.state
    if remote is None:
        teachers = run.teachers if state.distiller.needs_teachers else []
        outputs = teacher_outputs(teachers, state.distiller.teacher_features, part.images, run.context, addresses)
    else:
        outputs = [output_to_device(output, run.placement.device) for output in remote]
    run.watch.lap("teacher")
    with run.context():
        step: Step = run.model(part, outputs, run.epoch(state.step))
    terms = torch.stack([full_precision(term) for term in step.terms.values()])
    run.check(terms.detach(), list(step.terms), part)
    run.watch.lap("student")
    # DDP averages over workers, so each worker's mean is weighted by its share of the global batch.
    share = len(part.index) * run.placement.world / run.recipe.batch_size
    loss = terms.sum() if share == 1 else terms.sum() * share
    run.expect_registered(loss)
    state.scaler.scale(loss).backward()
    run.watch.lap("backward")
    return step


def _clip(recipe: Recipe, state: State) -> Tensor:
    """Clip the gradient if the recipe says so, globally or each tensor; returns its global norm before that."""
    state.scaler.unscale_(state.active_optimizer)
    optimizer = (recipe.initialise if state.initialising else recipe).optimizer
    gradients = [p.grad for p in state.distiller.parameters() if p.grad is not None]
    norms = torch.stack(torch._foreach_norm(gradients))
    norm: Tensor = torch.linalg.vector_norm(norms)
    if optimizer.clip_each:
        torch._foreach_mul_(gradients, list((optimizer.clip_norm / norms).clamp(max=1.0).unbind()))
    elif optimizer.clip_norm:
        nn.utils.clip_grads_with_norm_(state.distiller.parameters(), optimizer.clip_norm, norm)
    return norm


def _mean(steps: list[tuple[int, Step]]) -> Step:
    """One detached Step: the mean over the parts of an accumulated batch, weighted by their sizes."""
    if len(steps) == 1:
        step = steps[0][1]
        return Step({k: v.detach() for k, v in step.terms.items()}, {k: v.detach() for k, v in step.notes.items()})
    size = sum(n for n, _ in steps)
    first = steps[0][1]
    terms = {name: total(n / size * step.terms[name].detach() for n, step in steps) for name in first.terms}
    notes = {name: total(n / size * step.notes[name].detach() for n, step in steps) for name in first.notes}
    return Step(terms, notes)
