"""Group teachers: frozen teachers' pass of one step, raykd's against the original's (BatchNorm, NCHW, all features).

A row for each form that raykd can run them in; what teachers.form auto would choose also depends on the loss.
"""

import copy
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch

from raykd.methods.supervised import Supervised
from raykd.models import create
from raykd.models.frozen.freeze import freeze
from raykd.models.staged import Staged
from raykd.teachers.cache_format import Full
from raykd.teachers.frozen_teacher import Form, FrozenTeacher
from raykd.teachers.logit_cache import Kept
from raykd.teachers.outputs import ask
from tests.bench.step import CASES, CLASSES, DEVICE, SIZE, only_ours
from tests.bench.timing import in_turns, ratio, threads

PASSES = (
    ("resnet20", 1, 128),
    ("resnet56", 1, 64),
    ("resnet8x4", 3, 64),
    ("resnet32x4", 1, 64),
    ("vgg13", 1, 64),
    ("wrn_40_2", 1, 64),
)


def rows(passes=PASSES, repetitions: int = 5, counts: tuple[int, ...] = (1, 2)) -> Iterator[dict]:
    for name, k, batch in passes:
        for count in counts:
            with threads(count):
                found = _rows(name, k, batch, repetitions)
                for form, row in found:
                    yield {"teachers": f"{k} × {name}", "form": form, "batch": batch, "threads": count} | row
    for count in counts:
        with threads(count):
            what = {"teachers": "3 × resnet32x4, a step → vgg8", "form": "kept in files", "batch": 64, "threads": count}
            yield what | _kept(repetitions)


def _kept(repetitions: int) -> dict:
    """A whole step that reads the teachers' logits; as "original" the supervised step that it should come near to."""
    taught = replace(CASES["aver_mkd"], teachers=("resnet32x4",) * 3)
    alone = replace(taught, config=Supervised.Config(), teachers=())
    with tempfile.TemporaryDirectory() as folder:
        stores = [Kept(Path(folder) / str(k), 50_000, Full(CLASSES, "float16")) for k in range(3)]
        sides = {"original": only_ours(alone, CLASSES), "raykd": only_ours(taught, CLASSES, stores)}
        timed = in_turns(sides, repetitions)
    times = {f"{side} ms": found.milliseconds for side, found in timed.items()}
    return times | ratio(timed["original"], timed["raykd"])


def _prepared(name: str, k: int, batch: int) -> tuple[list[Staged], torch.Tensor]:
    torch.manual_seed(0)
    teachers = [create(name, CLASSES, SIZE).to(DEVICE).eval().requires_grad_(False) for _ in range(k)]
    return teachers, torch.randn(batch, 3, SIZE, SIZE, device=DEVICE)


def _rows(name: str, k: int, batch: int, repetitions: int) -> Iterator[tuple[str, dict]]:
    teachers, images = _prepared(name, k, batch)
    forms = {"float32": Form(), "bfloat16": Form("bfloat16")}
    sides = {"original": original(teachers, images)} | {n: ours(teachers, images, form) for n, form in forms.items()}
    timed = in_turns(sides, repetitions)
    for form in forms:
        times = {"original ms": timed["original"].milliseconds, "raykd ms": timed[form].milliseconds}
        yield form, times | ratio(timed["original"], timed[form])


def original(teachers: list[Staged], images: torch.Tensor) -> Callable[[], None]:
    @torch.no_grad()
    def run() -> None:
        for teacher in teachers:
            teacher.output(images, tuple(teacher.shapes))

    return run


def ours(teachers: list[Staged], images: torch.Tensor, form: Form) -> Callable[[], object]:
    frozen = [FrozenTeacher(t.name, freeze(copy.deepcopy(t)), "", 0, form=form) for t in teachers]
    images = images.contiguous(memory_format=torch.channels_last)
    context = lambda: torch.autocast(DEVICE.type, enabled=False)  # noqa: E731
    return lambda: ask(frozen, (), images, context)
