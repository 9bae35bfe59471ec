"""python -m tests.bench.views FOLDER: the cost of `data.views` in accuracy, on digits with FunMatch and mixup.

The shipped recipe digits/funmatch with the original 8×8 pixels, which takes a sixteenth of the time: one run for each
number of views and seed, in processes of one thread that share one cache, with one evaluation at the end. Results are
stored in FOLDER/results.json; the same command again trains only what is missing.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import ClassVar

import numpy as np
from safetensors.torch import load_file, save_file
from scipy.stats import t

from raykd.data.examples import Examples, Splits
from raykd.data.sources.digits import Digits
from raykd.data.transforms import RandomCrop
from raykd.models import create_network
from raykd.models.frozen.freeze import freeze
from raykd.models.staged import parameters
from raykd.recipe import Recipe, Teachers
from raykd.recipes.digits.funmatch import recipe as funmatch
from raykd.recipes.digits.teacher import recipe as teacher
from raykd.teachers.cache.attach import attach_cache
from raykd.teachers.cache.write_behind import WriteBehind
from raykd.teachers.frozen_teacher import FrozenTeacher
from raykd.training import loop
from raykd.training.evaluation.evaluate import evaluate
from raykd.training.process import use_cpus
from raykd.training.setup import Experiment, single

VIEWS = (0, 1, 4, 16, 64)


@dataclass(frozen=True, kw_only=True)
class Native(Digits):
    """The same split of the same images, not upscaled."""

    name: ClassVar[str] = "digits-8x8"

    def open(self, root: Path, download: bool) -> Splits:
        whole = super().open(root, download)
        return whole._replace(**{part: small(getattr(whole, part)) for part in ("train", "test")})


def small(examples: Examples) -> Examples:
    return examples._replace(read=lambda index: np.ascontiguousarray(examples.read(index)[::4, ::4]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.views", description=__doc__)
    parser.add_argument("folder", type=Path, help="for the data, the teacher, the cache and the results")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--views", type=int, nargs="+", default=VIEWS)
    parser.add_argument("--processes", type=int, default=2, help="trainings at once")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    store = chosen.folder / "results.json"
    runs = [Run(chosen.epochs, seed, views) for seed in range(chosen.seeds) for views in chosen.views]
    known = json.loads(store.read_text()) if store.exists() else {}
    for run, top1 in trained(chosen.folder, [run for run in runs if str(run) not in known], chosen.processes):
        known[str(run)] = top1
        written = store.with_suffix(".part")
        written.write_text(json.dumps(known, indent=1))
        written.replace(store)
    for line in lines({run: known[str(run)] for run in runs}):
        print(line)


@dataclass(frozen=True)
class Run:
    epochs: int
    seed: int
    views: int

    def __str__(self) -> str:
        return f"epochs {self.epochs}, seed {self.seed}, views {self.views:2d}"


def trained(folder: Path, runs: Sequence[Run], processes: int) -> Iterator[tuple[Run, float]]:
    """Each run, as it ends, with its student's accuracy on the test split after the last epoch."""
    if not runs:
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    context = get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=use_cpus, initargs=(1,)) as pool:
        print(pool.submit(train_teacher, folder).result(), flush=True)
        waiting = {pool.submit(train_student, folder, run): run for run in runs}
        for done in as_completed(waiting):
            top1, wall, cpu = done.result()
            print(f"{waiting[done]}: top-1 {100 * top1:.2f} %, {wall:.0f} s, {cpu:.0f} s of the CPU", flush=True)
            yield waiting[done], top1


def at_8x8(recipe: Recipe, folder: Path, **changes) -> Recipe:
    data = replace(
        recipe.data, source=Native(), image_size=8, train=(RandomCrop(padding=1),), root=str(folder / "data")
    )
    return replace(recipe, data=data, workers=0, **changes)


def student_recipe(folder: Path, run: Run) -> Recipe:
    recipe = at_8x8(funmatch, folder, epochs=run.epochs, seed=run.seed, evaluate_every=run.epochs)
    return replace(recipe, data=replace(recipe.data, views=run.views), teachers=Teachers(cache="float16"))


def train_teacher(folder: Path) -> str:
    """Train the teacher of all runs if it doesn't exist; returns a line about it."""
    path = folder / "teacher.safetensors"
    if path.exists():
        return "teacher: there"
    top1, network = train(at_8x8(teacher, folder, epochs=30, evaluate_every=30), [])
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)
    return f"teacher: top-1 {100 * top1:.2f} %"


def train_student(folder: Path, run: Run) -> tuple[float, float, float]:
    """A student's accuracy, and the wall-clock seconds and CPU seconds of its training."""
    wall, cpu = time.perf_counter(), time.process_time()
    network = create_network(teacher.student, 10, 8)
    network.load_state_dict(load_file(folder / "teacher.safetensors"))
    taught = FrozenTeacher("teacher", freeze(network.eval().requires_grad_(False)), "", parameters(network))
    top1, _ = train(student_recipe(folder, run), [taught])
    return top1, time.perf_counter() - wall, time.process_time() - cpu


def train(recipe: Recipe, teachers: list[FrozenTeacher]):
    """The deployed network's accuracy at the end, and the network."""
    experiment, writer = Experiment(recipe, single(recipe)), WriteBehind(print)
    experiment.teachers = teachers
    features, data = experiment.distiller.teacher_features, experiment.train_data
    cached = attach_cache(teachers, experiment.recipe, features, data, writer, lambda line: None)
    state, found = experiment.new_state(), {}

    def measure(distiller):
        distiller.eval()
        found.update(evaluate(distiller.predict, experiment.test_data.batches(), experiment.autocast, {})[0])
        distiller.train()
        return {"evaluation": {}, "measures": {}}

    for _ in loop.fit(experiment.recipe, state, cached, data, measure, experiment.placement, lambda step: False):
        pass
    writer.close()
    return next(iter(found.values())).top1, next(iter(state.evaluated.networks().values()))


def lines(found: dict[Run, float]) -> Iterator[str]:
    """For each number of views: accuracies, and differences from those of the same seeds with views 0."""
    for views in dict.fromkeys(run.views for run in found):
        own = {run.seed: 100 * top1 for run, top1 in found.items() if run.views == views}
        line = f"views {views:2d}  top-1 {described(list(own.values()))}"
        fresh = {run.seed: 100 * top1 for run, top1 in found.items() if run.views == 0}
        if views and fresh:
            line += f"; against views 0: {described([own[seed] - fresh[seed] for seed in own])}"
        yield line


def described(values: list[float]) -> str:
    """Mean ± deviation over seeds, and the 95 % interval of the mean."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return f"{mean:.2f}"
    deviation = statistics.stdev(values)
    half = t.ppf(0.975, len(values) - 1) * deviation / len(values) ** 0.5
    return f"{mean:.2f} ± {deviation:.2f}, 95 % [{mean - half:.2f}, {mean + half:.2f}], n {len(values)}"


if __name__ == "__main__":
    from tests.bench.views import main as of_this_module  # not __main__'s: its classes have one name in all processes

    of_this_module()
