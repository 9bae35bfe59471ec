"""Nothing piles up in long runs and long searches: memory, threads, open files, processes, actors and objects."""

import json
import os
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.faults.stage import processes
from tests.launch import tiny

EPOCHS, TRIALS = 300, 200
SEARCH = (
    f"replace(base, epochs=1, search=Search(samples={TRIALS}, "
    "space={'optimizer.learning_rate': tune.loguniform(0.01, 0.1)}))"
)


def figures(process: psutil.Process) -> dict[str, float]:
    """What a process holds: resident memory in MB, threads, open files."""
    return {"MB": process.memory_info().rss / 1e6, "threads": process.num_threads(), "files": process.num_fds()}


def finish(status: int, seen: list[dict], out: str) -> None:
    Path(out).write_text(json.dumps({"status": status, "seen": seen}))
    os._exit(0)


def run(recipe: str, storage: str, out: str) -> None:
    """A run in this process that notes what the process holds at every epoch."""
    from raykd.__main__ import main
    from raykd.launch import record

    seen, line = [], record.Record._line

    def look(self, event):
        line(self, event)
        seen.append(figures(psutil.Process()))

    record.Record._line = look
    finish(main(["train", recipe, "--storage", storage, "--name", "long"]), seen, out)


def search(recipe: str, storage: str, out: str) -> None:
    """A search that notes after every trial what its driver and its trials' processes hold, and what Ray keeps."""
    from raykd.__main__ import main
    from raykd.launch.watch import Watch

    seen, complete = [], Watch.on_trial_complete

    def look(self, **info):
        complete(self, **info)
        seen.append(of_search())

    Watch.on_trial_complete = look
    finish(main(["tune", recipe, "--storage", storage, "--name", "long"]), seen, out)


def of_search() -> dict[str, float]:
    from ray._private.state import actors

    from raykd.launch.groups import groups

    own = psutil.Process()
    below = own.children(recursive=True)
    trials = [figures(child) for child in below if child.name().startswith("ray::")]
    worst = {f"trial {key}": max(trial[key] for trial in trials) for key in trials[0]} if trials else {}
    alive = [actor for actor in actors().values() if actor["State"] != "DEAD"]
    counts = {"processes": len(below), "actors": len(alive), "groups": len(groups())}
    return figures(own) | worst | counts | {"objects": len(own_objects())}


def own_objects() -> dict:
    """Objects that this process's references keep alive."""
    from ray._private.worker import global_worker

    return global_worker.core_worker.get_all_reference_counts()


def watched(target, *arguments) -> list[dict[str, float]]:
    out = Path(arguments[1]) / "seen.json"
    process = processes.Process(target=target, args=(*map(str, arguments), str(out)))
    process.start()
    process.join(1500)
    told = json.loads(out.read_text())
    assert told["status"] == 0
    return told["seen"]


def growth(seen: list[dict[str, float]], what: str) -> float:
    """Least-squares slope per entry, of the last five sixths: caches fill in the first."""
    late = np.array([entry[what] for entry in seen[len(seen) // 6 :]])
    return float(np.polyfit(np.arange(len(late)), late, 1)[0])


def expect_level(seen: list[dict[str, float]], megabytes: float) -> None:
    early, late = seen[len(seen) // 6], seen[-1]
    for what in early:
        print(f"{what}: {early[what]:.4g} -> {late[what]:.4g}, {growth(seen, what):+.2g} each of {len(seen)}")
    for what in early:
        limit = megabytes if what.endswith("MB") else 4
        assert growth(seen, what) * len(seen) < limit, what


@pytest.mark.slow
def test_many_epochs_leave_nothing_behind(stage, tmp_path):
    changes = f"method={stage.tiny()}, epochs={EPOCHS}, batch_size=449, checkpoint=Checkpoint(every='1 steps')"
    seen = watched(run, stage.recipe("supervised", changes), tmp_path)
    assert len(seen) == EPOCHS
    expect_level(seen, megabytes=20)
    assert len(list((tmp_path / "long/checkpoints").iterdir())) <= 3


@pytest.mark.slow
@pytest.mark.timeout(1600)
def test_many_trials_leave_nothing_behind(tmp_path):
    recipe = tiny.write(tmp_path, "tiny_long", SEARCH, tmp_path / "data")
    seen = watched(search, recipe, tmp_path)
    assert len(seen) == TRIALS
    expect_level(seen, megabytes=100)
