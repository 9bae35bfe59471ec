"""One run of many workers on this machine, on a Ray node that declares as many CPUs as there are workers.

Counted: samples of an epoch, messages, files that the run writes, W&B's bytes, memory. `python -m
tests.bench.many_workers 64` runs one size.
"""

import json
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.bench.simulated_nodes import simulated_nodes
from tests.cluster.head import ROOT, environment
from tests.support import tiny_recipe as tiny

SAMPLES, EPOCHS = 160, 4  # whole batches an epoch, whatever the number of workers

# A method that writes down which samples it gets, and a note for each status that a worker reports and for each file
# that a process of the run opens for writing.
COUNTING = """
import os
import sys
import time
from raykd.launch.run_state import client
from raykd.recipe import WandB

NOTES = {notes!r}


class Counting(Supervised):
    @dataclass(frozen=True, kw_only=True)
    class Config(Supervised.Config):
        def build(self, new_student, teachers):
            return Counting(self, new_student())

    def forward(self, batch, teachers, epoch):
        _note("samples", f"{{time.time()}} {{epoch}} " + " ".join(str(int(i)) for i in batch.index))
        return super().forward(batch, teachers, epoch)


def _note(kind, line):
    with open(f"{{NOTES}}/{{kind}}-{{os.getpid()}}", "a") as file:
        file.write(line + "\\n")


def _see(event, given):
    writes = event == "open" and isinstance(given[0], str) and (given[2] or 0) & (os.O_WRONLY | os.O_RDWR)
    if writes and given[0].startswith({runs!r}) and not given[0].endswith(".lock"):
        _note("writes", given[0])


def _report(self, *given, report=client.StateClient._post):
    _note("reports", "1")
    return report(self, *given)


client.StateClient._post = _report
sys.addaudithook(_see)
recipe = replace(base, method=Counting.Config(), epochs={epochs}, batch_size={batch}, workers={workers},
                 wandb=WandB(mode="offline"))
"""


def rows(*counts: int) -> Iterator[dict]:
    for workers in counts or (0, 4, 8, 16):
        yield from run(workers)


def run(workers: int) -> Iterator[dict]:
    """One run, and what was counted of it; 0 workers: in the driver, without Ray."""
    with tempfile.TemporaryDirectory(prefix="rkd", dir="/tmp") as folder:
        place = Path(folder)
        path = tiny.write(place, "many", "base", place / "data")
        notes = place / "notes"
        notes.mkdir()
        about = {"notes": str(notes), "runs": str(place / "runs"), "epochs": EPOCHS, "workers": workers}
        text = textwrap.dedent(COUNTING).format(
            **about, batch=next(batch for batch in (32, 80, 160) if batch >= 2 * workers)
        )
        path.write_text(path.read_text() + text)
        if workers:
            with simulated_nodes(place, [workers]) as env:
                found = _run(path, place, env)
        else:
            found = _run(path, place, environment(place) | {"PYTHONPATH": str(ROOT)})
        yield from _report(workers, place, found)


def _run(path: Path, place: Path, env: dict[str, str]) -> dict:
    command = [sys.executable, "-m", "raykd", "train", str(path), "--name", "many", "--storage", str(place / "runs")]
    began = time.time()
    env = env | {"WANDB_MODE": "offline"}
    with open(place / "log", "w") as log, psutil.Popen(command, cwd=place, env=env, stdout=log, stderr=log) as process:
        memory = Memory()
        while process.poll() is None:
            memory.look(process)
            time.sleep(5)
    assert process.returncode == 0, (place / "log").read_text()[-5000:]
    return {"began": began, "ended": time.time(), "memory": memory}


class Memory:
    """The largest memory of the driver and of its workers, in bytes; pages in the swap file are counted too."""

    def __init__(self) -> None:
        self.driver, self.own, self.all_own = 0, 0, 0

    def look(self, driver: psutil.Process) -> None:
        """Read it once; a worker's own pages are those that it shares with no other process."""
        try:
            self.driver = max(self.driver, driver.memory_info().rss)
            workers = [each for each in psutil.process_iter() if "RayTrainWorker" in " ".join(_words(each))]
            own = [full.uss + full.swap for full in (each.memory_full_info() for each in workers)]
            self.own, self.all_own = max([self.own, *own]), max(self.all_own, sum(own))
        except psutil.Error:
            return


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _report(workers: int, place: Path, found: dict) -> Iterator[dict]:
    processes = len(list((place / "notes").glob("samples-*")))
    seen: Counter[tuple[int, str]] = Counter()
    times = []
    for line in _notes(place, "samples"):
        when, epoch, *indices = line.split()
        times.append(float(when))
        seen.update((int(float(epoch) + 1e-9), index) for index in indices)
    exactly = len(seen) == EPOCHS * SAMPLES and set(seen.values()) == {1}
    told = f"{processes} processes, {len(seen)} of {EPOCHS} × {SAMPLES}, each at most {max(seen.values())} times"
    yield _row(workers, "every sample exactly once in an epoch", int(exactly), "", told)
    yield _row(workers, "from the command to the first step", min(times) - found["began"], "s")
    yield _row(workers, "from the first step to the last", max(times) - min(times), "s")
    memory = found["memory"]
    yield _row(workers, "driver's memory, at most", memory.driver / 2**20, "MB")
    together = f"all of them {memory.all_own / 2**30:.1f} GB"
    yield _row(workers, "a worker's own memory, at most", memory.own / 2**20, "MB", together)
    seconds = found["ended"] - min(times)
    count = len(_notes(place, "reports"))
    yield _row(workers, "workers' reports to the driver", count / seconds, "a second", f"{count} in {seconds:.0f} s")
    written = _notes(place, "writes")
    writers = len(list((place / "notes").glob("writes-*")))
    kinds = Counter(_kind(Path(line).relative_to(place / "runs/many")) for line in dict.fromkeys(written))
    yield _row(workers, "files written", sum(kinds.values()), "", f"by {writers} processes: {dict(kinds)}")
    logs = [file.stat().st_size for file in place.rglob("wandb/history.jsonl")]
    yield _row(workers, "W&B's log", sum(logs) / 1e3, "kB", f"{len(logs)} files, {EPOCHS} epochs")


def _kind(path: Path) -> str:
    """What a file of a run is; one that replaces another is written under a hidden name first."""
    return "replaced" if path.name.startswith(".") else path.parts[0]


def _notes(place: Path, kind: str) -> list[str]:
    return [line for file in (place / "notes").glob(f"{kind}-*") for line in file.read_text().splitlines()]


def _row(workers: int, what: str, value: float, unit: str, all_of_them: str = "") -> dict:
    return {"what": f"{workers} workers: {what}", "value": value, "unit": unit, "all": all_of_them}


if __name__ == "__main__":
    for row in rows(*(int(word) for word in sys.argv[1:])):
        print(json.dumps(row), flush=True)
