"""Remote teachers in group scale: a student's whole step with teachers on another core, inline, and without any."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from raykd.contract import Placement
from raykd.data.loader import TrainLoader
from raykd.data.storage.prepare import prepare
from raykd.launch.cluster.connection import connected
from raykd.launch.job_spec import JobSpec
from raykd.launch.worker.remote_teachers import RemoteTeachers
from raykd.methods.aver_mkd import AverMKD
from raykd.models import create
from raykd.models.config import Network
from raykd.recipe import Pretrained, Recipe, Teachers
from raykd.recipe.length import total_steps
from raykd.recipe.serial import to_dict
from raykd.recipes.digits.supervised import recipe as digits
from raykd.teachers.load import load_teachers
from raykd.training import loop
from raykd.training.setup import build_distiller
from raykd.training.update.state import State, new_state
from tests.bench.timing import threads

STUDENT, TEACHER, CLASSES = "vgg8", "resnet8x4", 10
BASE = replace(digits, student=Network(name=STUDENT), batch_size=64, workers=1, epochs=10_000, log_every=2**31)
CPU = torch.device("cpu")


def rows(turns: int = 4, counts: tuple[int, ...] = (1, 3)) -> Iterator[dict]:
    """Milliseconds per step of the real loop, the minimum over interleaved blocks; about a minute.

    The student and the single actor of its teachers have one thread each: on two cores each has its own.
    """
    with ExitStack() as stack:
        stack.enter_context(threads(1))
        stack.enter_context(connected())
        weights = str(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "teacher.safetensors")
        torch.manual_seed(0)
        save_file(create(TEACHER, CLASSES, image_size=32).model.state_dict(), weights)
        steps = {"supervised": _steps(BASE, stack)}
        for count in counts:
            for place in ("inline", "remote"):
                steps[f"{count} × {TEACHER} {place}"] = _steps(_taught(weights, count, place), stack)
        found = {name: [] for name in steps}
        for turn in range(turns):
            for name, step in steps.items():
                found[name].append(_block(step))
                milliseconds = 1e3 * found[name][-1][0]
                yield {
                    "what": f"{STUDENT}, {name}, block {turn + 1}",
                    "value": milliseconds,
                    "unit": "ms a step",
                    "all": "",
                }
    best = {name: min(each)[0] for name, each in found.items()}
    for name, seconds in best.items():
        said = " ".join(f"{1e3 * wall:.1f}" for wall, _ in found[name])
        said += f"; CPU of the student's process {1e3 * min(cpu for _, cpu in found[name]):.1f}"
        yield {"what": f"{STUDENT}, {name}", "value": 1e3 * seconds, "unit": "ms a step, best block", "all": said}
    for name, seconds in best.items():
        if name != "supervised":
            share = seconds / best["supervised"]
            yield {"what": f"{name} / supervised", "value": share, "unit": "ratio", "all": ""}


def _taught(weights: str, count: int, place: str) -> Recipe:
    source = Pretrained(network=Network(name=TEACHER, weights=weights), mean=BASE.data.mean, std=BASE.data.std)
    sources = (source,) * count
    return replace(BASE, method=AverMKD.Config(), teachers=Teachers(sources=sources, placement=place))


def _steps(recipe: Recipe, stack: ExitStack) -> Callable[[], object]:
    """Runs one step of a run per call. While it is not called, it computes nothing, except for a few steps ahead."""
    placement = Placement(CPU, 1)
    ready = prepare(recipe.data)
    data = TrainLoader(
        recipe.data, ready, placement, batch_size=recipe.batch_size, seed=recipe.seed, channels_last=True
    )
    teachers = load_teachers(recipe.teachers, recipe.data, ready.classes, ())
    distiller = build_distiller(recipe, teachers, CLASSES, 0)
    apart = None
    if recipe.teachers.placement == "remote":
        about = {"run": "", "name": "", "trained": (), "fingerprint": "", "git": ""}
        job = JobSpec(recipe=to_dict(recipe), sources={}, **about)
        features, steps = distiller.teacher_features, total_steps(recipe, data.size)
        apart = stack.enter_context(
            closing(RemoteTeachers(job, recipe, Placement(torch.device("cpu"), 1), features, steps, print))
        )
        apart.gather()
    state = new_state(recipe, distiller, CPU)
    events = loop.fit(recipe, state, teachers, data, lambda d: {}, Placement(CPU, 1), lambda step: True, remote=apart)
    stack.callback(events.close)
    return lambda: _one_step(events, state)


def _one_step(events: Iterator[loop.Event], state: State) -> None:
    """Advance by one step, whatever the number of its events: the last step of an interval has two."""
    before = state.step
    while state.step == before:
        next(events)


def _block(step: Callable[[], object], seconds: float = 2.0, warm: int = 5) -> tuple[float, float]:
    """Seconds per step and its CPU seconds, without the first steps, whose teacher outputs were computed in advance."""
    for _ in range(warm):
        step()
    start, cpu, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < seconds:
        step()
        count += 1
    return (time.perf_counter() - start) / count, (time.process_time() - cpu) / count
