"""Group teachers: the frozen teachers' pass of a step, raykd's and the original's (BatchNorm, NCHW, all features).

One row for each precision; the choice of `teachers.form` auto also depends on the loss.
"""

import copy
import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from raykd.methods.funmatch import FunMatch
from raykd.methods.supervised import Supervised
from raykd.models import create
from raykd.models.frozen.freeze import freeze
from raykd.models.staged import Staged
from raykd.teachers.cache.claims import Claims
from raykd.teachers.cache.formats import Full
from raykd.teachers.cache.row_files import Layout, RowFiles
from raykd.teachers.cache.teacher_cache import TeacherCache, TensorCache
from raykd.teachers.cache.write_behind import WriteBehind
from raykd.teachers.frozen_teacher import FrozenTeacher, TeacherPrecision
from raykd.teachers.outputs import teacher_outputs
from tests.bench.step import CASES, CLASSES, DEVICE, SIZE, Case, only_ours
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
    for name, (case, mixed) in CACHED.items():
        for count in counts:
            with threads(count):
                what = {"teachers": name, "form": "cached", "batch": 64, "threads": count}
                yield what | _cached(case, mixed, repetitions)


TAUGHT_BY_3 = {"teachers": ("resnet32x4",) * 3}
CACHED = {
    "3 × resnet32x4, AVER → vgg8": (replace(CASES["aver_mkd"], **TAUGHT_BY_3), False),
    "3 × resnet32x4, CA-MKD → vgg8": (replace(CASES["ca_mkd"], **TAUGHT_BY_3), False),
    "3 × resnet32x4, FunMatch, mixup → vgg8": (
        replace(CASES["aver_mkd"], config=FunMatch.Config(), **TAUGHT_BY_3),
        True,
    ),
}


def _cached(case: Case, mixed: bool, repetitions: int) -> dict:
    """A whole step that reads cached teacher outputs, compared with a supervised step, its lower bound."""
    alone = replace(case, config=Supervised.Config(), teachers=())
    with tempfile.TemporaryDirectory() as folder:
        numbers, writer = itertools.count(), WriteBehind(print)

        def cache_of(teacher: Staged, features: Sequence[str]) -> TeacherCache:
            shapes = {"logits": (CLASSES,)} | {name: teacher.shapes[name] for name in features}
            forms = {name: Full(shape, "float16") for name, shape in shapes.items()}
            place = Path(folder) / str(next(numbers))
            tensors = {name: _tensor(place / name, form) for name, form in forms.items()}
            return TeacherCache(tensors, writer, Claims(place))

        sides = {
            "original": only_ours(alone, CLASSES, mixed=mixed),
            "raykd": only_ours(case, CLASSES, cache_of, mixed=mixed),
        }
        timed = in_turns(sides, repetitions)
        writer.close()
    times = {f"{side} ms": each.milliseconds for side, each in timed.items()}
    return times | ratio(timed["original"], timed["raykd"])


def _tensor(folder: Path, form: Full) -> TensorCache:
    folder.mkdir(parents=True)
    return TensorCache(folder.name, form, RowFiles(folder, Layout(form.bytes, 50_000), print))


def _prepared(name: str, k: int, batch: int) -> tuple[list[Staged], torch.Tensor]:
    torch.manual_seed(0)
    teachers = [create(name, CLASSES, SIZE).to(DEVICE).eval().requires_grad_(False) for _ in range(k)]
    return teachers, torch.randn(batch, 3, SIZE, SIZE, device=DEVICE)


def _rows(name: str, k: int, batch: int, repetitions: int) -> Iterator[tuple[str, dict]]:
    teachers, images = _prepared(name, k, batch)
    forms = {"float32": TeacherPrecision(), "bfloat16": TeacherPrecision("bfloat16")}
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


def ours(teachers: list[Staged], images: torch.Tensor, form: TeacherPrecision) -> Callable[[], object]:
    frozen = [FrozenTeacher(t.name, freeze(copy.deepcopy(t)), "", 0, precision=form) for t in teachers]
    images = images.contiguous(memory_format=torch.channels_last)
    context = lambda: torch.autocast(DEVICE.type, enabled=False)  # noqa: E731
    return lambda: teacher_outputs(frozen, (), images, context)
