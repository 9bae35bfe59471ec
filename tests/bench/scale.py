"""Group scale: Ray Train compared with the bare generator, two workers with one, parallel teachers, remote teachers,
and counts of runs with 4, 8 and 16 workers.

Real runs on digits: about 5 minutes for the workers, 2 for the teachers side by side, 1 for remote teachers, on two
cores that do nothing else. Every run is a row as soon as it is over; the ratios follow.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from raykd.contract import Placement
from raykd.data.loader import TrainLoader
from raykd.data.storage.prepare import prepare
from raykd.recipe.changes import change
from raykd.recipes.digits.supervised import recipe as digits
from raykd.training import loop, process
from raykd.training.setup import build_distiller
from raykd.training.update.state import new_state
from tests.bench import many_workers, remote
from tests.bench.timing import threads

NETWORK, BATCH = "resnet20", 128
LENGTH = {"epochs": 6, "evaluate-every": 2}  # the first two epochs are warm-up, the others two intervals that count
CPU = torch.device("cpu")


def rows() -> Iterator[dict]:
    yield from workers()
    yield from side_by_side()
    yield from remote.rows()
    yield from many_workers.rows()


def _row(what: str, value: float, unit: str, all_of_them: str = "") -> dict:
    return {"what": what, "value": value, "unit": unit, "all": all_of_them}


def workers(turns: int = 2, length: dict[str, float] = LENGTH) -> Iterator[dict]:
    """Training throughput without evaluations and checkpoints, interleaved; one thread and 128 images per worker."""
    sides: dict[str, Callable[[], list[float]]] = {
        "the bare generator": lambda: _bare(length),
        "Ray Train, 1 worker": lambda: _trained(1, length),
        "Ray Train, 2 workers": lambda: _trained(2, length),
    }
    best = dict.fromkeys(sides, 0.0)
    for turn in range(turns):
        for name, run in sides.items():
            rates = run()
            best[name] = max(best[name], *rates)
            said = " ".join(f"{rate:.0f}" for rate in rates)
            yield _row(f"{NETWORK}, {name}, run {turn + 1}", max(rates), "images/s, best interval", said)
    bare, one, two = best.values()
    yield _row("1 worker under Ray Train / the bare generator", one / bare, "ratio of the best")
    yield _row("2 workers / 1 worker", two / one, "ratio of the best")


def _bare(length: dict[str, float]) -> list[float]:
    """Images per second of loop.fit in this process, with nothing that handles its events."""
    process.keep_freed_memory()  # as in a worker
    recipe = change(digits, {**length, "student.name": NETWORK, "batch-size": BATCH, "workers": 1})
    ready = prepare(recipe.data)
    channels_last, placement = recipe.precision.channels_last, Placement(CPU, 1)
    loader = TrainLoader(recipe.data, ready, placement, batch_size=BATCH, seed=recipe.seed, channels_last=channels_last)
    with threads(1):
        state = new_state(recipe, build_distiller(recipe, [], len(ready.classes), recipe.seed), CPU)
        events = loop.fit(recipe, state, [], loader, lambda distiller: {}, placement, lambda step: False)
        return _rates([event.line for event in events if isinstance(event, loop.Epoch)])


def _trained(count: int, length: dict[str, float]) -> list[float]:
    """Images a second of `raykd train`."""
    options = length | {"student.name": NETWORK, "batch-size": count * BATCH, "workers": count}
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "scale"
        subprocess.run(_command("supervised", folder, run.name, options), check=True, capture_output=True)
        return _rates([json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()])


def _rates(lines: list[dict]) -> list[float]:
    return [line["images_per_second"] for line in lines[1:]]


def _command(recipe: str, folder: str, name: str, options: dict) -> list[str]:
    options = options | {"wandb.mode": "disabled", "storage": folder, "name": name}
    words = [str(part) for key, value in options.items() for part in (f"--{key}", *str(value).split())]
    return [sys.executable, "-u", "-m", "raykd", "train", f"recipes/digits/{recipe}.py", *words]


def side_by_side(epochs: float = 8) -> Iterator[dict]:
    """One teacher, then one for each of up to four cores at once: until all are trained, and their training alone."""
    count = min(4, len(os.sched_getaffinity(0)))
    if count == 1:
        return
    found = {}
    for k in (1, count):
        found[k] = wall, trained = _teachers(k, epochs)
        yield _row(f"{k} teacher(s) {NETWORK}, {epochs:g} epochs", wall, "s until all are trained", "")
        yield _row("  the slowest one's training alone", trained, "s", "")
    (wall, trained), (wall_of_many, trained_of_many) = found.values()
    yield _row(f"{count} teachers at once / one", wall_of_many / wall, "ratio of the time until all are trained")
    yield _row(f"{count} teachers at once / one, training alone", trained_of_many / trained, "ratio")


def _teachers(count: int, epochs: float) -> tuple[float, float]:
    """Seconds from the command until the student's turn comes, and of the slowest teacher's training."""
    seeds = " ".join(map(str, range(count)))
    first = "teachers.sources.0"
    options = {f"{first}.seeds": seeds, f"{first}.recipe.epochs": epochs, "epochs": 0.05, "workers": 1}
    with tempfile.TemporaryDirectory() as folder:
        start, wall, said = time.perf_counter(), 0.0, []
        command = _command("teachers", folder, "student", options)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            for line in process.stdout:
                said.append(line)
                if line.startswith("student:"):
                    wall = time.perf_counter() - start
        results = [json.loads(path.read_text()) for path in (Path(folder) / "teachers").glob("*/result.json")]
    if process.returncode or len(results) != count:
        raise RuntimeError(f"{' '.join(command)} failed: {''.join(said)}")
    return wall, max(result["seconds"] for result in results)
