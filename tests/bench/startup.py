"""Group startup: the time of `raykd --help` and imports, and how `raykd train` spends its time until the first step.

A run of one step is observed from outside: its output divides the time into parts, and its processes, including Ray's,
divide the CPU time. The driver reads the state of its workers every 0.3 s, so a shorter part may be counted with the
next one. It takes about 2 minutes on two cores.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil

IMPORTS = (
    "raykd.recipe.files.load",
    "torch",
    "raykd.training.loop",
    "raykd.data.ffcv.engine",
    "ray.train.torch",
    "raykd.launch.run_state.state",
)
RECIPE = "recipes/digits/supervised.py"
# The text whose first occurrence in a line ends each part of a run.
PARTS = {
    "the driver's imports, the recipe": ": Supervised, resnet8 on digits",
    "Ray, its workers and what they import": "preparing data and networks",
    "data (FFCV's kernels from their cache) and networks": "first step",
    "first step, evaluation": "epoch ",
    "result; Ray ends": "",
}
KINDS = {"ray::RayTrainWorker": "workers", "ray::TrainController": "controller", "ray::RunState": "state"}


def rows(turns: int = 3, counts: tuple[int, ...] = (0, 1, 2)) -> Iterator[dict]:
    python = [sys.executable]
    yield _row("raykd --help", _median([*python, "-m", "raykd", "--help"], turns))
    yield _row("raykd report --help", _median([*python, "-m", "raykd", "report", "--help"], turns))
    yield _row("raykd train RECIPE --help", _median([*python, "-m", "raykd", "train", RECIPE, "--help"], turns))
    for name in IMPORTS:
        yield _row(f"import {name}", _median([*python, "-c", f"import {name}"], turns))
    for workers in counts:
        yield from _until_first_step(workers)


def _row(what: str, found: tuple[float, float]) -> dict:
    return {"what": what, "seconds": found[0], "CPU seconds": found[1]}


def _median(command: list[str], turns: int) -> tuple[float, float]:
    """Seconds, and CPU seconds, of a command."""
    found = [_run(command) for _ in range(turns)]
    return statistics.median(wall for wall, _ in found), statistics.median(cpu for _, cpu in found)


def _run(command: list[str]) -> tuple[float, float]:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _until_first_step(workers: int) -> Iterator[dict]:
    """Rows of one run of one step: its parts in order, then the CPU time by process."""
    options = {"epochs": 0.05, "workers": workers, "name": "startup", "wandb.mode": "disabled"}
    command = [sys.executable, "-u", "-m", "raykd", "train", RECIPE]
    command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
    with tempfile.TemporaryDirectory() as folder:
        marks, by_kind = _watched([*command, "--storage", folder])
        line = json.loads((Path(folder) / "startup" / "metrics.jsonl").read_text().splitlines()[0])
    run, (then, cpu_then) = f"workers={workers}", (0.0, 0.0)
    for part, (now, cpu) in marks.items():
        yield _row(f"{run}: {part}", (now - then, cpu - cpu_then))
        then, cpu_then = now, cpu
    yield {"what": f"{run}: of the first step, waiting for data", "seconds": line["time"]["data"], "CPU seconds": ""}
    for kind, cpu in by_kind.most_common():
        yield {"what": f"{run}: all of the {kind}", "seconds": "", "CPU seconds": cpu}


def _watched(command: list[str]) -> tuple[dict[str, tuple[float, float]], Counter]:
    """When each part ended, in seconds and CPU seconds since the start; and the CPU seconds of each kind of process."""
    start, lines, used = time.perf_counter(), [], {}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def read() -> None:
        for line in process.stdout:
            lines.append((line, time.perf_counter() - start))

    reader = threading.Thread(target=read)
    reader.start()
    watched, marks = psutil.Process(process.pid), {}
    while process.poll() is None:
        _look(watched, used)
        _mark(marks, lines, used)
        time.sleep(0.1)
    reader.join()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {''.join(line for line, _ in lines)}")
    _mark(marks, lines, used)
    marks[list(PARTS)[-1]] = time.perf_counter() - start, _total(used)
    kinds = Counter()
    for kind, seconds in used.values():
        kinds[kind] += seconds
    return marks, kinds


def _look(driver: psutil.Process, used: dict[int, tuple[str, float]]) -> None:
    """Note the CPU seconds so far of the driver and of all its descendants; those that have ended keep theirs."""
    try:
        found = [driver, *driver.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in found:
        try:
            times, title = process.cpu_times(), " ".join(process.cmdline()[:1])
        except psutil.Error:  # it has ended since
            continue
        kind = "driver" if process is driver else _kind(title)
        if kind == OTHERS and process.pid in used:
            kind = used[process.pid][0]
        used[process.pid] = kind, times.user + times.system


OTHERS = "other processes of Ray"


def _kind(title: str) -> str:
    return next((kind for prefix, kind in KINDS.items() if title.startswith(prefix)), OTHERS)


def _mark(marks: dict, lines: list[tuple[str, float]], used: dict) -> None:
    """Note the parts that have ended since the last look."""
    for part, text in PARTS.items():
        seen = [when for line, when in lines if text in line]
        if text and seen and part not in marks:
            marks[part] = seen[0], _total(used)


def _total(used: dict[int, tuple[str, float]]) -> float:
    return sum(seconds for _, seconds in used.values())
