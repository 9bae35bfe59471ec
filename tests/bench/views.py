"""python -m tests.bench.views FOLDER: what `data.views` costs in accuracy, on digits with FunMatch and mixup.

The shipped recipe digits/funmatch on the digits' own 8×8 pixels, which takes a sixteenth of the time: one training for
each number of views and seed, one after another. Results are kept in FOLDER/results.json, and not computed again.
"""

import argparse
import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.stats import t

from raykd.data.sources.digits import Digits
from raykd.data.sources.examples import Examples, Splits
from raykd.data.transforms import RandomCrop
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
from raykd.training.setup import Experiment, single

VIEWS = (1, 4, 16, 64, 0)


@dataclass(frozen=True, kw_only=True)
class Native(Digits):
    """The same split of the same images, a pixel for each of their own."""

    name: ClassVar[str] = "digits-8x8"

    def open(self, root: Path, download: bool) -> Splits:
        whole = super().open(root, download)
        return whole._replace(**{part: small(getattr(whole, part)) for part in ("train", "test")})


def small(examples: Examples) -> Examples:
    return examples._replace(read=lambda index: np.ascontiguousarray(examples.read(index)[::4, ::4]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.views", description=__doc__)
    parser.add_argument("folder", type=Path, help="for the data, the caches and the results")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    found = list(results(chosen.folder, chosen.epochs, chosen.seeds))
    for views in VIEWS:
        print(f"views {views:2d}  {described([top1 for other, top1 in found if other == views])}")


def results(folder: Path, epochs: int, seeds: int) -> Iterator[tuple[int, float]]:
    """Views, and the student's accuracy on the test split after its last epoch."""
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / "results.json"
    known = json.loads(store.read_text()) if store.exists() else {}
    taught = None
    for seed in range(seeds):
        for views in VIEWS:
            name = f"epochs {epochs}, seed {seed}, views {views:2d}"
            if name not in known:
                taught = taught or trained_teacher(folder)
                known[name] = train(student_recipe(folder, epochs, seed, views), [taught])[0]
                store.write_text(json.dumps(known, indent=1))
                print(f"{name}: top-1 {100 * known[name]:.2f} %", flush=True)
            yield views, known[name]


def at_8x8(recipe: Recipe, folder: Path, **changes) -> Recipe:
    data = replace(
        recipe.data, source=Native(), image_size=8, train=(RandomCrop(padding=1),), root=str(folder / "data")
    )
    return replace(recipe, data=data, workers=0, **changes)


def student_recipe(folder: Path, epochs: int, seed: int, views: int) -> Recipe:
    recipe = at_8x8(funmatch, folder, epochs=epochs, seed=seed, evaluate_every=epochs)
    return replace(recipe, data=replace(recipe.data, views=views), teachers=Teachers(cache="float16"))


def trained_teacher(folder: Path) -> FrozenTeacher:
    top1, network = train(at_8x8(teacher, folder, epochs=30, evaluate_every=30), [])
    print(f"teacher: top-1 {100 * top1:.2f} %", flush=True)
    return FrozenTeacher("teacher", freeze(network.eval().requires_grad_(False)), "", parameters(network))


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

    device = experiment.placement.device
    for _ in loop.fit(experiment.recipe, state, cached, data, measure, device, lambda step: False):
        pass
    writer.close()
    experiment.close()
    return next(iter(found.values())).top1, next(iter(state.evaluated.networks().values()))


def described(values: list[float]) -> str:
    """Mean and half the width of its 95 % interval over seeds."""
    mean = f"mean {100 * statistics.mean(values):.2f} %"
    if len(values) < 2:
        return mean
    half = t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean} ± {100 * half:.2f} ({len(values)} seeds)"


if __name__ == "__main__":
    main()
