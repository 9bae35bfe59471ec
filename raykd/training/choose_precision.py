"""The form in which frozen teachers run: in the recipe's own precision or a lower one, compiled or not.

`teachers.form` names one, or leaves it to `choose`, which measures them on the run's first batches.
"""

import copy
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from raykd.contract import Batch, Distiller
from raykd.recipe import Recipe
from raykd.teachers.frozen_teacher import Launch, TeacherPrecision

if TYPE_CHECKING:
    from raykd.teachers.frozen_teacher import FrozenTeacher

LIMIT = 1e-3  # the most that a form may change the student's loss by, relative
GAIN = 0.95  # the share of the plain form's time that another one must stay below
WARM, TURNS = 2, 5  # passes of each form: first ones, which allocate and compile, and timed ones


class Measured(NamedTuple):
    """Of one form: seconds of the teachers' pass, and the largest relative change of the student's loss."""

    seconds: float
    change: float


def candidates(recipe: Recipe, device: torch.device) -> list[TeacherPrecision]:
    """The recipe's own precision first. Compiled ones, which cost minutes, on a GPU or where the recipe compiles."""
    on_gpu = device.type == "cuda"
    lower = ("bfloat16", "float16") if on_gpu else ("bfloat16",)
    precisions = ["recipe", *(kind for kind in lower if kind != recipe.precision.autocast)]
    own: Launch = "captured" if recipe.teachers.capture else "one by one"
    launches: list[Launch] = [own, "compiled"] if on_gpu or recipe.precision.compile else [own]
    return [TeacherPrecision(precision, launch) for launch in launches for precision in precisions]


def choose(measured: dict[TeacherPrecision, Measured]) -> TeacherPrecision:
    """The fastest form that leaves the student's loss what it is; the first where that gains next to nothing."""
    first = next(iter(measured))
    faithful = {form: each.seconds for form, each in measured.items() if each.change < LIMIT or form == first}
    best = min(faithful, key=lambda form: faithful[form])
    return best if faithful[best] < GAIN * faithful[first] else first


def measure(
    recipe: Recipe,
    distiller: Distiller,
    teachers: Sequence["FrozenTeacher"],
    batches: Sequence[Batch],
    device: torch.device,
    rank: int = 0,
) -> dict[TeacherPrecision, Measured]:
    """Every candidate's time and faithfulness on some batches, the worst of all workers, who call this together.

    Changes nothing of the distiller, and no random state.
    """
    found = candidates(recipe, device)
    forms = {form: [replace(teacher, form=form) for teacher in teachers] for form in found}
    seconds = _seconds(forms, distiller, batches[0], recipe, device)
    losses = {form: _losses(recipe, distiller, forms[form], batches, device, rank) for form in found}
    # Losses are never negative; at exactly 0 only the same loss is no change.
    changes = [((losses[f] - losses[found[0]]).abs() / losses[found[0]].abs().clamp_min(1e-12)).max() for f in found]
    worst = _worst(torch.stack([torch.tensor([s, c.item()]) for s, c in zip(seconds, changes, strict=True)]), device)
    return {form: Measured(*row) for form, row in zip(found, worst.tolist(), strict=True)}


def _seconds(
    forms: dict[TeacherPrecision, list["FrozenTeacher"]],
    distiller: Distiller,
    batch: Batch,
    recipe: Recipe,
    device: torch.device,
) -> list[float]:
    """The median time of each form's pass, the forms in turns."""
    from raykd.teachers.outputs import teacher_outputs
    from raykd.teachers.precision import autocast

    context = autocast(recipe, device)
    times: dict[TeacherPrecision, list[float]] = {form: [] for form in forms}
    for turn in range(WARM + TURNS):
        for form, teachers in forms.items():
            start = time.perf_counter()
            teacher_outputs(teachers, distiller.teacher_features, batch.images, context)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn >= WARM:
                times[form].append(time.perf_counter() - start)
    return [statistics.median(each) for each in times.values()]


def _losses(
    recipe: Recipe,
    distiller: Distiller,
    teachers: Sequence["FrozenTeacher"],
    batches: Sequence[Batch],
    device: torch.device,
    rank: int,
) -> Tensor:
    """The student's loss at the start and at the end of the schedules, of each batch, as a step computes it: [2 n]."""
    from raykd.teachers.outputs import teacher_outputs
    from raykd.teachers.precision import autocast
    from raykd.training.update.seeding import seed_step

    context, found = autocast(recipe, device), []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for batch in batches:
            outputs = teacher_outputs(teachers, distiller.teacher_features, batch.images, context)
            for epoch in (0.0, float(recipe.epochs)):
                seed_step(recipe.seed, 0, rank)
                # A copy, as a forward pass moves batch statistics; the teachers that it may hold are not copied.
                student = copy.deepcopy(distiller, {id(t.network): t.network for t in teachers}).train()
                with context():
                    step = student(batch, outputs, epoch)
                found.append(torch.stack([term.detach().double() for term in step.terms.values()]).sum())
    return torch.stack(found)


def _worst(values: Tensor, device: torch.device) -> Tensor:
    """The largest of all workers' values; NaN, a loss that a form broke, is the largest."""
    values = values.nan_to_num(nan=float("inf")).to(device)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(values, op=torch.distributed.ReduceOp.MAX)
    return values.cpu()


def described(chosen: TeacherPrecision, measured: dict[TeacherPrecision, Measured]) -> str:
    """One line: the choice, and every form's figures."""
    rows = (f"{form} {1e3 * each.seconds:.1f} ms, loss changed by {each.change:.1e}" for form, each in measured.items())
    return f"teachers run in {chosen} ({'; '.join(rows)}; allowed below {LIMIT:g})"
