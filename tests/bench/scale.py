"""Group scale: two workers against one, Ray Train against the bare generator, remote teachers, growth."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from raykd.methods.aver_mkd import AverMKD
from raykd.methods.okddip import OKDDip
from tests.bench import remote, step
from tests.bench.timing import in_turns, threads

RECIPE = "recipes/digits/supervised.py"
NETWORK, BATCH = "resnet20", 128


def rows() -> Iterator[dict]:
    yield from workers()
    yield from remote.rows()
    with threads(1):
        yield from growth()


def workers(turns: int = 3) -> Iterator[dict]:
    """Images a second of real runs: without Ray, with one Ray worker, with two (and the batch doubled)."""
    found: dict[str, list[float]] = {"no Ray": [], "1 worker": [], "2 workers": []}
    for _ in range(turns):
        for name, count, batch in (("no Ray", 0, BATCH), ("1 worker", 1, BATCH), ("2 workers", 2, 2 * BATCH)):
            found[name].append(_run(count, batch))
    best = {name: max(rates) for name, rates in found.items()}
    for name, rates in found.items():
        said = " ".join(f"{rate:.0f}" for rate in rates)
        yield {"what": f"{NETWORK}, {name}", "value": best[name], "unit": "images/s, best run", "all": said}
    yield {"what": "Ray Train / bare loop", "value": best["1 worker"] / best["no Ray"], "unit": "ratio", "all": ""}
    yield {"what": "2 workers / 1 worker", "value": best["2 workers"] / best["1 worker"], "unit": "ratio", "all": ""}


def _run(count: int, batch: int) -> float:
    """The training throughput of the fastest epoch after the first, as metrics.jsonl has it."""
    options = {"student.name": NETWORK, "workers": count, "batch-size": batch, "epochs": 4, "wandb.mode": "disabled"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "raykd", "train", RECIPE, "--storage", folder, "--name", "scale"]
        command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
        subprocess.run(command, check=True, capture_output=True)
        lines = [json.loads(line) for line in (Path(folder) / "scale" / "metrics.jsonl").read_text().splitlines()]
    # The timed steps alone: evaluation and checkpoints between them are not the loop's throughput.
    return max(batch / sum(line["time"].values()) for line in lines[1:])


def growth(repetitions: int = 5) -> Iterator[dict]:
    """Seconds a step of raykd with one thing grown, and how the time grew compared with the thing (1: linear)."""
    base = step.CASES["aver_mkd"]
    teachers = {k: replace(base, student="resnet20", teachers=("resnet20",) * k) for k in (1, 2, 4)}
    yield from _grown("teachers K", teachers, repetitions)
    peers = replace(step.CASES["okddip"], student="resnet20", batch=64)
    yield from _grown(
        "branches m", {m: replace(peers, config=OKDDip.Config(branches=m)) for m in (2, 4, 8)}, repetitions
    )
    sizes = {b: replace(base, student="resnet20", teachers=("resnet20",), batch=b) for b in (32, 64, 128)}
    yield from _grown("batch B", sizes, repetitions)
    yield from _grown(
        "classes C", {c: replace(sizes[64], config=AverMKD.Config()) for c in (10, 100, 1000)}, repetitions
    )


def _grown(what: str, cases: dict[int, step.Case], repetitions: int) -> Iterator[dict]:
    calls = {}
    for value, case in cases.items():
        classes = value if what.startswith("classes") else step.CLASSES
        calls[str(value)] = step.only_ours(case, classes)
    timed = in_turns(calls, repetitions)
    first = next(iter(cases))
    for value in cases:
        now, then = (sorted(timed[str(v)].cpu)[repetitions // 2] for v in (value, first))
        share = (now / then) / (value / first)
        yield {"what": f"{what} = {value}", "value": 1e3 * now, "unit": "CPU ms a step", "all": f"{share:.2f} × linear"}
