"""Long runs and searches leak no memory, threads, open files, processes, actors or objects."""

import contextlib
import gc
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.faults.stage import processes
from tests.support import tiny_recipe as tiny

EPOCHS, TRIALS = 300, 200
SEARCH = (
    f"replace(base, epochs=1, search=Search(samples={TRIALS}, "
    "space={'optimizer.learning_rate': tune.loguniform(0.01, 0.1)}))"
)


def figures(process: psutil.Process) -> dict[str, float]:
    """Resources of a process: resident memory in MB, threads, open files."""
    return {"MB": process.memory_info().rss / 1e6, "threads": process.num_threads(), "files": process.num_fds()}


def finish(status: int, seen: list[dict], out: str) -> None:
    Path(out).write_text(json.dumps({"status": status, "seen": seen}))
    os._exit(0)


def run(recipe: str, storage: str, out: str) -> None:
    """A run in this process that records the process's resources at every epoch."""
    from raykd.__main__ import main
    from raykd.launch.worker import recorder

    seen, save = [], recorder.Recorder._save

    def look(self, step, epoch, top1):
        save(self, step, epoch, top1)
        if top1 is not None:  # at the end of an epoch
            seen.append(figures(psutil.Process()))

    recorder.Recorder._save = look
    finish(main(["train", recipe, "--storage", storage, "--name", "long"]), seen, out)


def search(recipe: str, storage: str, out: str) -> None:
    """A search that records the resources of itself, its trials and Ray after every trial and at the end."""
    from raykd.__main__ import main
    from raykd.launch.search import search
    from raykd.launch.search.progress import SearchProgress

    seen, complete, trials = [], SearchProgress.on_trial_complete, search._run

    def look(self, **info):
        complete(self, **info)
        seen.append(of_search())

    def to_the_end(*arguments):
        trials(*arguments)
        gc.collect()
        time.sleep(5)
        seen.append(of_search())

    SearchProgress.on_trial_complete, search._run = look, to_the_end
    finish(main(["tune", recipe, "--storage", storage, "--name", "long"]), seen, out)


def of_search() -> dict[str, float]:
    from ray._private.state import actors

    from raykd.launch.cluster.ray_internals import placement_groups as groups

    own = psutil.Process()
    trials = list(of_trials(own))
    worst = {f"trial {key}": max((trial[key] for trial in trials), default=0) for key in figures(own)}
    alive = [actor for actor in actors().values() if actor["State"] != "DEAD"]
    counts = {"processes": len(trials), "actors": len(alive), "groups": len(groups())}
    return figures(own) | worst | counts | {"objects": len(own_objects())}


def of_trials(own: psutil.Process) -> Iterator[dict[str, float]]:
    """Of every process that runs Ray actors; those that end meanwhile are skipped."""
    for child in own.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.name().startswith("ray::"):
                yield figures(child)


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


def expect_level(seen: list[dict[str, float]], **each: float) -> None:
    """Assert that each value grows by less than `each` per entry, by default a hundredth."""
    early, late = seen[len(seen) // 6], seen[-1]
    for what in early:
        print(f"{what}: {early[what]:.4g} -> {late[what]:.4g}, {growth(seen, what):+.2g} each of {len(seen)}")
    for what in early:
        assert growth(seen, what) < each.get(what.replace(" ", "_"), 0.01), what


@pytest.mark.slow
def test_many_epochs_leak_nothing(stage, tmp_path):
    changes = f"method={stage.tiny()}, epochs={EPOCHS}, batch_size=449, checkpoint=Checkpoint(every='1 steps')"
    seen = watched(run, stage.recipe("supervised", changes), tmp_path)
    assert len(seen) == EPOCHS
    expect_level(seen, MB=0.05)
    assert len(list((tmp_path / "long/checkpoints").iterdir())) <= 3


@pytest.mark.slow
@pytest.mark.timeout(1600)
def test_many_trials_leak_nothing(tmp_path):
    recipe = tiny.write(tmp_path, "tiny_long", SEARCH, tmp_path / "data")
    seen = watched(search, recipe, tmp_path)
    *seen, end = seen
    assert len(seen) == TRIALS
    # Tune keeps the answers of a process that it uses again until that process ends: some small objects a trial.
    expect_level(seen, MB=0.2, trial_MB=0.8, objects=2)
    print("at the end:", end)
    assert end["groups"] == 0 and end["actors"] <= 1 and end["objects"] <= seen[0]["objects"], "all is given back"
