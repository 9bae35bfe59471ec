"""The one training loop of every method: a generator, without Ray. Each worker runs it in lockstep with the others."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from raykd import UserError
from raykd.contract import Batch, Distiller, Output, Step, global_sum
from raykd.losses import full_precision
from raykd.recipe import Recipe
from raykd.train import optim
from raykd.train.assemble import FrozenTeacher
from raykd.train.finite import FiniteCheck, skip
from raykd.train.meters import Meter, Stopwatch


@dataclass(frozen=True)
class Progress:
    """Where training is, every `log_every` steps; values of this worker's last step."""

    step: int
    steps: int
    epoch: float
    values: dict[str, float | list[float]]


@dataclass(frozen=True)
class Epoch:
    """The end of an evaluation interval: means over it and over all workers; a checkpoint is due after it."""

    step: int
    epoch: float
    line: dict[str, Any]


@dataclass(frozen=True)
class Save:
    """A checkpoint is due within an evaluation interval."""

    step: int
    epoch: float


Event = Progress | Epoch | Save


@dataclass
class State:
    """All that changes while training, and so all that a checkpoint holds. Randomness is no state: see `seed_step`."""

    distiller: Distiller
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    ema: torch.optim.swa_utils.AveragedModel | None
    step: int = 0
    meter: Meter = field(default_factory=Meter)

    def snapshot(self) -> dict[str, Any]:
        """A copy on the CPU that further steps don't change."""
        parts = {"distiller": self.distiller, "optimizer": self.optimizer, "scaler": self.scaler, "meter": self.meter}
        state = {name: part.state_dict() for name, part in parts.items()}
        state["ema"] = self.ema.state_dict() if self.ema is not None else {}
        return {"step": self.step, **_copy(state)}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Become what `snapshot` kept; raises UserError where that is of another recipe."""
        try:
            self.step = snapshot["step"]
            for name in ("distiller", "optimizer", "scaler", "meter"):
                getattr(self, name).load_state_dict(snapshot[name])
            if self.ema is not None:
                self.ema.load_state_dict(snapshot["ema"])
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            why = str(error).strip().splitlines()[0]
            raise UserError(
                f"the checkpoint doesn't fit the recipe's networks or optimizer ({why}): give the run another --name"
            ) from None

    @property
    def evaluated(self) -> Distiller:
        """The distiller whose networks are evaluated and deployed: the averaged one where there is one."""
        return self.ema.module if self.ema is not None else self.distiller


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, (list, tuple)) else value


def new_state(recipe: Recipe, distiller: Distiller, device: torch.device) -> State:
    """The state before the first step, on the device."""
    layout = torch.channels_last if recipe.precision.channels_last else torch.preserve_format
    distiller = distiller.to(device, memory_format=layout)
    if recipe.sync_batchnorm:
        distiller = nn.SyncBatchNorm.convert_sync_batchnorm(distiller)
    scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision.autocast == "float16")
    ema = None
    if recipe.ema:
        average = torch.optim.swa_utils.get_ema_multi_avg_fn(recipe.ema)
        ema = torch.optim.swa_utils.AveragedModel(distiller, multi_avg_fn=average, use_buffers=True)
    return State(distiller, optim.build(recipe.optimizer, distiller), scaler, ema)


def autocast(recipe: Recipe, device: torch.device) -> Callable[[], contextlib.AbstractContextManager]:
    """A factory of autocast contexts of the recipe's precision."""
    kind = getattr(torch, recipe.precision.autocast)
    return lambda: torch.autocast(device.type, dtype=kind, enabled=kind is not torch.float32)


def wrap(recipe: Recipe, distiller: Distiller, device: torch.device) -> nn.Module:
    """What the loop calls: the distiller, compiled where the recipe says so, in DDP where there are workers.

    `find_unused_parameters`: a method may leave modules out for a while (CA-MKD's features in the first epoch), and DDP
    then never rebuilds its buckets, so a resumed run adds gradients up in the same order as an uninterrupted one.
    """
    module: Any = distiller
    if recipe.precision.compile:
        module = torch.compile(module)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        devices = [device.index] if device.type == "cuda" else None
        options = {"find_unused_parameters": True, "gradient_as_bucket_view": True}
        return DistributedDataParallel(module, device_ids=devices, **options)
    return module


@dataclass
class Running:
    """What a run's steps share, on this worker."""

    recipe: Recipe
    state: State
    model: nn.Module  # the distiller as the loop calls it, see `wrap`
    teachers: Sequence[FrozenTeacher]
    data: Any  # a TrainLoader
    device: torch.device
    rank: int
    world: int
    remote: Callable[[int], list[list[Output]]] | None = None  # see `fit`

    def __post_init__(self):
        self.steps = optim.total_steps(self.recipe, self.data.size)
        self.context = autocast(self.recipe, self.device)
        self.check = FiniteCheck(self.recipe, self.state, self.rank)
        self.watch = Stopwatch(self.device)
        self.reads_kept = any(teacher.kept for teacher in self.teachers)

    def epoch(self, step: int) -> float:
        """Passes over the training split before a step."""
        return step * self.recipe.batch_size / self.data.size


def fit(
    recipe: Recipe,
    state: State,
    teachers: Sequence[FrozenTeacher],
    data: Any,
    evaluate: Callable[[Distiller], dict[str, Any]],
    device: torch.device,
    save_due: Callable[[int], bool],
    rank: int = 0,
    world: int = 1,
    remote: Callable[[int], list[list[Output]]] | None = None,
) -> Iterator[Event]:
    """Train from `state.step` to the end of the recipe, yielding what happened.

    data: a TrainLoader, whose `batches(start, stop)` gives this worker's part of each global batch.
    evaluate: the figures of a distiller's networks as plain numbers, over all workers.
    save_due: asked after each step with the number of steps done; True yields `Save`.
    remote: what the teachers, running elsewhere, say of each part (see `split`) of a step's batch; on the CPU.
    """
    run = Running(recipe, state, wrap(recipe, state.distiller, device), teachers, data, device, rank, world, remote)
    while state.step < run.steps:
        stop = _interval_end(recipe, state.step, data.size)
        yield from _interval(run, stop, save_due)
        line = {"epoch": round(run.epoch(stop), 6), "step": stop, **state.meter.means(global_sum, device)}
        state.meter = Meter()
        share_buffers(state.evaluated)
        yield Epoch(stop, run.epoch(stop), line | evaluate(state.evaluated))


def share_buffers(module: nn.Module) -> None:
    """Give every worker the first one's buffers: without it each would evaluate with its own batch statistics.

    DDP does so before each training step, and the first worker's buffers are the ones that are saved.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        for buffer in module.buffers():
            torch.distributed.broadcast(buffer, src=0)


def _interval_end(recipe: Recipe, step: int, size: int) -> int:
    """The first evaluation step past `step`."""
    passed = step * recipe.batch_size / size
    epoch = (int(passed) // recipe.evaluate_every + 1) * recipe.evaluate_every
    end = optim.epoch_end(epoch, recipe, size)
    return end if end > step else optim.epoch_end(epoch + recipe.evaluate_every, recipe, size)


def _interval(run: Running, stop: int, save_due: Callable[[int], bool]) -> Iterator[Event]:
    """Steps state.step … stop − 1."""
    state = run.state
    run.model.train()
    for batch in run.data.batches(state.step, stop):
        logged = (state.step + 1) % run.recipe.log_every == 0 or state.step + 1 == stop
        run.watch.start(logged)
        step, norm, rate = update(run, batch)
        state.step += 1
        state.meter.add(step, norm, len(batch.index), run.recipe.batch_size)
        if logged:
            timing = run.watch.stop()
            state.meter.timed(timing, rate)
            yield Progress(state.step, run.steps, run.epoch(state.step), _values(step, norm, rate, timing))
        if state.step < stop and save_due(state.step):
            yield Save(state.step, run.epoch(state.step))
    run.check.last()


def update(run: Running, batch: Batch) -> tuple[Step, Tensor, float]:
    """One optimizer step on this worker's part of a global batch: its terms, the gradient's norm, the rate."""
    recipe, state = run.recipe, run.state
    rate = optim.learning_rate(recipe, state.step, run.data.size)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    seed_step(recipe.seed, state.step, run.rank)
    state.optimizer.zero_grad(set_to_none=True)
    parts = list(split(batch, recipe.accumulate))
    tags = run.data.tags(state.step, state.step + 1)[0] if run.reads_kept else None
    chunks = [None] * len(parts) if tags is None else np.array_split(tags, len(parts))
    said = run.remote(state.step) if run.remote is not None else [None] * len(parts)
    found = []
    for i, part in enumerate(parts):
        alone = i == len(parts) - 1 or run.world == 1
        with contextlib.nullcontext() if alone else run.model.no_sync():
            found.append((len(part.index), _backward(run, part, chunks[i], said[i])))
    norm = _clip(recipe, state)
    run.check.gradient(norm, batch)
    if norm.device.type == "cuda" and not state.scaler.is_enabled():
        skip(state.optimizer, norm)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    if state.ema is not None:
        state.ema.update_parameters(state.distiller)
    run.watch.lap("optimizer")
    return _mean(found), norm, rate


def _backward(run: Running, part: Batch, tags: np.ndarray | None, said: list[Output] | None) -> Step:
    """Teachers, forward and backward pass of a part of the batch; the gradients add up."""
    state = run.state
    if said is None:
        outputs = ask(run.teachers, state.distiller.teacher_features, part.images, run.context, tags)
    else:
        outputs = [_moved(output, run.device) for output in said]
    run.watch.lap("teacher")
    with run.context():
        step = run.model(part, outputs, run.epoch(state.step))
    run.check(step, part)
    loss = torch.stack([full_precision(term) for term in step.terms.values()]).sum()
    run.watch.lap("student")
    # DDP averages over workers: each worker's mean counts by its share of the global batch.
    share = len(part.index) * run.world / run.recipe.batch_size
    state.scaler.scale(loss * share).backward()
    run.watch.lap("backward")
    return step


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed torch for one step (dropout): randomness is a function of seed, step and rank; no checkpoint holds it."""
    torch.manual_seed((seed * 1_000_003 + step) * 4099 + rank)


@torch.no_grad()
def ask(
    teachers: Sequence[FrozenTeacher], features: Sequence, images: Tensor, context, tags: np.ndarray | None = None
) -> list[Output]:
    """What each frozen teacher says of the images, with the features that the method reads of it.

    tags: which sample in which pass each image is; a teacher whose logits are kept is then read, not run.
    """
    outputs = []
    with context():
        for k, teacher in enumerate(teachers):
            run = functools.partial(teacher.output, images, features[k] if features else ())
            if teacher.kept is None or tags is None:
                outputs.append(run())
            else:
                outputs.append(Output(teacher.kept.logits(tags, images.device, lambda run=run: run().logits), {}))
    return outputs


def _moved(output: Output, device: torch.device) -> Output:
    features = {name: feature.to(device, non_blocking=True) for name, feature in output.features.items()}
    return Output(output.logits.to(device, non_blocking=True), features)


def split(batch: Batch, parts: int) -> Iterator[Batch]:
    """The parts that a worker's share of a batch is computed in."""
    if parts == 1:
        yield batch
        return
    for chunk in zip(*(tensor.tensor_split(parts) for tensor in batch)):
        if len(chunk[0]):
            yield Batch(*chunk)


def _clip(recipe: Recipe, state: State) -> Tensor:
    """The global norm of the gradient, which is clipped where the recipe says so."""
    state.scaler.unscale_(state.optimizer)
    limit = recipe.optimizer.clip_norm or float("inf")
    gradients = [p.grad for p in state.distiller.parameters() if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if recipe.optimizer.clip_norm:
        nn.utils.clip_grads_with_norm_(state.distiller.parameters(), limit, norm)
    return norm


def _mean(found: list[tuple[int, Step]]) -> Step:
    """One Step of the parts of an accumulated batch, each by its share of it; detached."""
    if len(found) == 1:
        step = found[0][1]
        return Step({k: v.detach() for k, v in step.terms.items()}, {k: v.detach() for k, v in step.notes.items()})
    size = sum(n for n, _ in found)
    mean = [{k: sum(n / size * s[i][k].detach() for n, s in found) for k in found[0][1][i]} for i in (0, 1)]
    return Step(*mean)


def _values(step: Step, norm: Tensor, rate: float, timing: dict[str, float]) -> dict[str, float | list[float]]:
    """Plain numbers of one step; the device syncs here."""
    terms = {f"terms/{name}": value.item() for name, value in step.terms.items()}
    notes = {f"notes/{name}": value.tolist() for name, value in step.notes.items()}
    times = {f"time/{name}": value for name, value in timing.items()}
    return {"loss": sum(terms.values()), "learning_rate": rate, "gradient_norm": norm.item(), **terms, **notes, **times}
