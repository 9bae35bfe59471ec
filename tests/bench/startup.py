"""Group startup: the CPU time of `raykd --help`, and where `raykd train` spends its time until the first step."""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

IMPORTS = ("raykd.__main__", "raykd.recipe.load", "torch", "raykd.train.loop", "raykd.data.loader", "ray.train.torch")


def rows() -> Iterator[dict]:
    yield {"what": "raykd --help", **_run([sys.executable, "-m", "raykd", "--help"])}
    yield {"what": "raykd train RECIPE --help", **_run([*RAYKD, "recipes/digits/supervised.py", "--help"])}
    for name in IMPORTS:
        yield {"what": f"import {name}", **_run([sys.executable, "-c", f"import {name}"])}
    for workers in (0, 1, 2):
        yield from _until_first_step(workers)


RAYKD = [sys.executable, "-m", "raykd", "train"]


def _run(command: list[str]) -> dict[str, float]:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"seconds": wall, "CPU seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


def _until_first_step(workers: int) -> Iterator[dict]:
    """A run of one step; the rest of its time, until metrics are there, is what starting costs."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--epochs", "0.05", "--workers", str(workers), "--storage", folder, "--name", "startup"]
        found = _run([*RAYKD, "recipes/digits/supervised.py", *options, "--wandb.mode", "disabled"])
        lines = (Path(folder) / "startup" / "metrics.jsonl").read_text().splitlines()
    yield {"what": f"raykd train, one step, workers={workers} ({len(lines)} line)", **found}
