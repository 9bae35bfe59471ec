"""Group step: one training step, raykd's loop compared with a transcription of the authors' code.

Both have the same networks, weights, batch and precision (float32), and data takes no time. Each side runs in its own
process, raykd's with the settings of its workers. Methods with frozen teachers have a second row, in which only raykd's
teachers run in bfloat16 (`teachers.form`).
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from raykd.contract import Batch, Distiller, Placement
from raykd.method import MethodConfig
from raykd.methods.aekd import AEKD
from raykd.methods.aver_mkd import AverMKD
from raykd.methods.ca_mkd import CAMKD
from raykd.methods.cl_ilr import CLILR
from raykd.methods.dml import DML
from raykd.methods.ebkd import EBKD
from raykd.methods.fitnet_mkd import FitNetMKD
from raykd.methods.funmatch import FunMatch
from raykd.methods.individual import Individual
from raykd.methods.kd import KD
from raykd.methods.okddip import OKDDip
from raykd.methods.one import ONE
from raykd.methods.supervised import Supervised
from raykd.methods.teskd import TESKD
from raykd.models import create
from raykd.models.frozen.freeze import freeze
from raykd.models.staged import Staged
from raykd.recipe import AdamW, Precision, Recipe
from raykd.recipes.digits.supervised import recipe as digits
from raykd.teachers.cache.teacher_cache import TeacherCache
from raykd.teachers.frozen_teacher import FrozenTeacher, TeacherPrecision
from raykd.training import loop, process
from raykd.training.update.state import new_state
from tests.bench import originals
from tests.bench.timing import Process, clocks_in_turns, ratio

CLASSES, SIZE = 100, 32
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Case:
    """A method with its networks and batch, and the transcription of the authors' code."""

    config: MethodConfig
    student: str
    teachers: tuple[str, ...]
    batch: int
    original: Callable[..., originals.Original]
    modules: Callable[[Any], list[nn.Module]]  # of a distiller, in the order in which the original reads them
    optimizer: Any = digits.optimizer


def _student(distiller):
    return [distiller.student]


def _branches(distiller):
    return [distiller.branches]


THREE = ("resnet8x4",) * 3
CASES = {
    "supervised": Case(Supervised.Config(), "resnet20", (), 128, originals.Supervised, _student),
    "kd": Case(KD.Config(), "resnet20", ("resnet56",), 64, originals.KD, _student),
    "aver_mkd": Case(AverMKD.Config(), "vgg8", THREE, 64, originals.AverMKD, _student),
    "ebkd": Case(EBKD.Config(), "vgg8", THREE, 64, originals.EBKD, _student),
    "fitnet_mkd": Case(
        FitNetMKD.Config(logits_only_epochs=0.0),
        "vgg8",
        THREE,
        64,
        originals.FitNetMKD,
        lambda d: [d.student, d.features.regressors],
    ),
    "ca_mkd": Case(
        CAMKD.Config(logits_only_epochs=0.0),
        "vgg8",
        THREE,
        64,
        originals.CAMKD,
        lambda d: [d.student, d.features.embeddings],
    ),
    "aekd": Case(AEKD.Config(), "vgg8", THREE, 64, originals.AEKD, _student),
    "individual": Case(Individual.Config(), "resnet32", (), 128, originals.Individual, _branches),
    "cl_ilr": Case(CLILR.Config(), "resnet32", (), 128, originals.CLILR, _branches),
    "one": Case(ONE.Config(), "resnet32", (), 128, originals.ONE, lambda d: [d.branches, d.gate]),
    "okddip": Case(OKDDip.Config(), "resnet32", (), 128, originals.OKDDip, lambda d: [d.branches, d.query, d.key]),
    "dml": Case(DML.Config(), "resnet20", (), 128, originals.DML, _branches),
    "teskd": Case(TESKD.Config(), "cifar_resnet18", (), 16, originals.TESKD, lambda d: [d.backbone, d.students]),
    "funmatch": Case(FunMatch.Config(), "resnet20", ("resnet56",), 64, originals.FunMatch, _student, AdamW()),
}


def rows(names=tuple(CASES), repetitions: int = 5, counts: tuple[int, ...] = (1, 2)) -> Iterator[dict]:
    with closing(Process(_as_it_is)) as theirs, closing(Process(process.keep_freed_memory)) as raykd:
        for name in names:
            for count in counts:
                for row in _rows(name, theirs, raykd, count, repetitions):
                    yield {"method": name, "threads": count, **row}
                theirs.clear()
                raykd.clear()


def _as_it_is() -> None:
    """No settings."""


def _rows(name: str, theirs: Process, raykd: Process, count: int, repetitions: int) -> Iterator[dict[str, Any]]:
    """One row for each precision of the teachers, measured in turns."""
    case = CASES[name]
    forms = (
        {"float32": TeacherPrecision(), "bfloat16": TeacherPrecision("bfloat16")}
        if case.teachers
        else {"": TeacherPrecision()}
    )
    clocks = {"original": theirs.build(count, only_theirs, name)}
    clocks |= {kind: raykd.build(count, _named, name, form) for kind, form in forms.items()}
    timed = clocks_in_turns(clocks, repetitions)
    for kind in forms:
        times = {"original ms": timed["original"].milliseconds, "raykd ms": timed[kind].milliseconds}
        what = {"networks": _networks(case), "batch": case.batch, "raykd's teachers": kind}
        yield what | times | ratio(timed["original"], timed[kind])


def _named(name: str, form: TeacherPrecision) -> Callable[[], object]:
    return only_ours(CASES[name], CLASSES, form=form)


def prepared(case: Case, classes: int, size: int = SIZE) -> tuple[list[Staged], Distiller, Tensor, Tensor]:
    """Teachers, distiller, images and labels of a case."""
    torch.manual_seed(0)
    teachers = [create(name, classes, size).to(DEVICE).eval().requires_grad_(False) for name in case.teachers]
    for teacher in teachers:
        calm(teacher)
    distiller = case.config.build(lambda: create(case.student, classes, size), teachers).to(DEVICE)
    images = torch.randn(case.batch, 3, size, size, device=DEVICE)
    return teachers, distiller, images, torch.randint(classes, (case.batch,), device=DEVICE)


def only_ours(
    case: Case,
    classes: int,
    cache_of: Callable[[Staged, Sequence[str]], TeacherCache] | None = None,
    form: TeacherPrecision = TeacherPrecision(),
    mixed: bool = False,
) -> Callable[[], object]:
    """Runs one step of raykd's loop per call. cache_of: creates a teacher's cache; form: the teachers' precision."""
    teachers, distiller, images, labels = prepared(case, classes)
    labels = nn.functional.one_hot(labels, classes).float() if mixed else labels
    features = distiller.teacher_features or [()] * len(teachers)
    caches = [cache_of(*each) for each in zip(teachers, features)] if cache_of else ()
    return ours(case, distiller, teachers, images, labels, caches, form)


def only_theirs(name: str) -> Callable[[], object]:
    """Runs one step of the original loop per call."""
    case = CASES[name]
    teachers, distiller, images, labels = prepared(case, CLASSES)
    return original(case, distiller, teachers, images, labels)


def _networks(case: Case) -> str:
    taught = f"{len(case.teachers)} × {case.teachers[0]} → " if case.teachers else ""
    return taught + case.student


@torch.no_grad()
def calm(teacher: Staged) -> None:
    """Scale down an untrained teacher's logits, so that its entropies are like a trained one's, not 0 (EBKD's NaN)."""
    for name, parameter in teacher.model.get_submodule(teacher.classifiers[0]).named_parameters():
        parameter.mul_(0.1 if name == "weight" else 1.0)


def original(case, distiller: Distiller, teachers, images, labels) -> Callable[[], None]:
    if isinstance(case.config, CAMKD.Config):
        distiller.teachers = teachers
    side = case.original(case.modules(distiller), teachers)
    side.start = getattr(distiller, "start", "")
    if isinstance(case.optimizer, AdamW):
        side.optimizer = torch.optim.Adam(side.parameters, lr=1e-4)
    else:
        for group in side.optimizer.param_groups:
            group["lr"] = 1e-3
    return lambda: side.step(images, labels)


class OneBatch:
    """A loader that returns the same batch every time, at no cost."""

    size = 50_000

    def __init__(self, batch: Batch):
        self.batch = batch

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        for _ in range(start, stop):
            yield self.batch

    def addresses(self, start: int, stop: int) -> np.ndarray:
        return np.tile(self.batch.index.numpy(force=True), (stop - start, 1))


def ours(
    case: Case, distiller: Distiller, teachers, images, labels, caches=(), form=TeacherPrecision()
) -> Callable[[], object]:
    """raykd's real loop, entered again after every step."""
    pairs = zip(teachers, caches or [None] * len(teachers))
    frozen = [FrozenTeacher(t.name, freeze(copy.deepcopy(t)), "", 0, cache, form) for t, cache in pairs]
    recipe = recipe_of(case)
    batch = Batch(images.contiguous(memory_format=torch.channels_last), labels, torch.arange(case.batch, device=DEVICE))
    state = new_state(recipe, distiller, DEVICE)
    events = loop.fit(recipe, state, frozen, OneBatch(batch), lambda d: {}, Placement(DEVICE, 1), lambda step: True)

    def step() -> None:
        while not isinstance(next(events), loop.Save):
            pass

    return step


def recipe_of(case: Case) -> Recipe:
    changes = {"precision": Precision(), "optimizer": replace(case.optimizer, learning_rate=1e-3)}
    return replace(digits, method=case.config, batch_size=case.batch, epochs=300, workers=1, **changes)
