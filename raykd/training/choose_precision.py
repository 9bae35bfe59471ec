"""Chooses the precision of frozen teachers (the recipe's or a lower one) and how they are launched.

`teachers.form` names a precision, or leaves it to `choose`, which compares measurements on the run's first batches.
"""

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from raykd.contract import Batch, Distiller, Output
from raykd.recipe import Recipe
from raykd.teachers.frozen_teacher import FrozenTeacher, Launch, TeacherPrecision
from raykd.teachers.outputs import teacher_outputs
from raykd.teachers.precision import autocast
from raykd.training.update.state import seed_step

LIMIT = 1e-3  # maximum relative change of the student's loss
GAIN = 0.95  # a candidate must take less than this fraction of the first one's time
WARM_UP, TURNS = 2, 5  # passes of each candidate: warm-up, which allocates and compiles, and timed ones


class Measured(NamedTuple):
    """One candidate: seconds of the teachers' pass, and the largest relative change of the student's loss."""

    seconds: float
    change: float


def candidates(recipe: Recipe, device: torch.device) -> list[TeacherPrecision]:
    """The recipe's own precision first; compiled ones, which cost minutes, only on a GPU or if the recipe compiles."""
    on_gpu = device.type == "cuda"
    lower = ("bfloat16", "float16") if on_gpu else ("bfloat16",)
    precisions = ["recipe", *(kind for kind in lower if kind != recipe.precision.autocast)]
    own: Launch = "captured" if recipe.teachers.capture else "one by one"
    launches: list[Launch] = [own, "compiled"] if on_gpu or recipe.precision.compile else [own]
    return [TeacherPrecision(precision, launch) for launch in launches for precision in precisions]


def choose(measured: dict[TeacherPrecision, Measured]) -> TeacherPrecision:
    """The fastest candidate that preserves the student's loss; the first one if the gain is negligible."""
    first = next(iter(measured))
    faithful = {each: m.seconds for each, m in measured.items() if m.change < LIMIT or each == first}
    best = min(faithful, key=lambda each: faithful[each])
    return best if faithful[best] < GAIN * faithful[first] else first


def measure(
    recipe: Recipe,
    distiller: Distiller,
    teachers: Sequence[FrozenTeacher],
    batches: Sequence[Batch],
    device: torch.device,
    rank: int = 0,
) -> dict[TeacherPrecision, Measured]:
    """Every candidate's time and change of the loss on some batches, the worst over all workers; a collective.

    Changes neither the distiller nor any random state.
    """
    context, features = autocast(recipe, device), distiller.teacher_features
    variants = {each: [replace(t, precision=each) for t in teachers] for each in candidates(recipe, device)}

    def outputs(variant: list[FrozenTeacher], batch: Batch) -> list[Output]:
        return teacher_outputs(variant, features, batch.images, context)

    def loss(variant: list[FrozenTeacher], batch: Batch, epoch: float) -> Tensor:
        """The student's loss of a batch as a step computes it."""
        targets = outputs(variant, batch)
        seed_step(recipe.seed, 0, rank)
        # A copy, as a forward pass updates batch statistics; teachers inside the distiller are not copied.
        student = copy.deepcopy(distiller, {id(t.network): t.network for t in teachers}).train()
        with context():
            step = student(batch, targets, epoch)
        return torch.stack([term.detach().double() for term in step.terms.values()]).sum()

    seconds = _seconds([partial(outputs, variant, batches[0]) for variant in variants.values()], device)
    ends = 0.0, float(recipe.epochs)  # of the schedules
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        pairs = [(batch, epoch) for batch in batches for epoch in ends]
        losses = [torch.stack([loss(variant, *pair) for pair in pairs]) for variant in variants.values()]
    # Losses are never negative; a loss of exactly 0 may not change at all.
    changes = [((each - losses[0]).abs() / losses[0].abs().clamp_min(1e-12)).max() for each in losses]
    worst = _worst(torch.stack([torch.tensor([s, c.item()]) for s, c in zip(seconds, changes, strict=True)]), device)
    return {each: Measured(*row) for each, row in zip(variants, worst.tolist(), strict=True)}


def _seconds(passes: Sequence[Callable[[], object]], device: torch.device) -> list[float]:
    """The median time of each candidate's pass, measured in turns."""
    times: list[list[float]] = [[] for _ in passes]
    for turn in range(WARM_UP + TURNS):
        for run, measured in zip(passes, times, strict=True):
            start = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn >= WARM_UP:
                measured.append(time.perf_counter() - start)
    return [statistics.median(values) for values in times]


def _worst(values: Tensor, device: torch.device) -> Tensor:
    """The elementwise maximum over all workers; NaN, from a broken loss, counts as the largest value."""
    values = values.nan_to_num(nan=float("inf")).to(device)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(values, op=torch.distributed.ReduceOp.MAX)
    return values.cpu()


def describe(chosen: TeacherPrecision, measured: dict[TeacherPrecision, Measured]) -> str:
    """One line: the choice, and every candidate's measurements."""
    rows = (f"{each} {1e3 * m.seconds:.1f} ms, loss changed by {m.change:.1e}" for each, m in measured.items())
    return f"teachers run in {chosen} ({'; '.join(rows)}; allowed below {LIMIT:g})"
