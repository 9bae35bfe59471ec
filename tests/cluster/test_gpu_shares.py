"""Fractions of a GPU: several runs of one worker share one, and no more than fit."""

from pathlib import Path

import pytest

from tests.cluster.test_nodes import story
from tests.support import tiny_recipe as tiny


@pytest.mark.slow
def test_four_quarter_gpu_runs_share_a_gpu_and_a_fifth_waits(tmp_path: Path):
    """On a node that declares one GPU; every trial waits until four are running, or for eight seconds."""
    told = story(
        tmp_path,
        """
        from dataclasses import replace
        import ray
        from ray import tune
        from raykd.launch.trials.tuner import resources
        from raykd.recipes.digits.supervised import recipe

        cluster = begin(0)
        cluster.add_node(num_cpus=8, num_gpus=1, object_store_memory=80_000_000)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        here = folder / "running"
        here.mkdir()

        def trial(config):
            mine = here / str(config["number"])
            mine.touch()
            seen = 0
            for _ in range(80):
                seen = max(seen, len(list(here.iterdir())))
                if seen >= 4:
                    time.sleep(2)  # a fifth would come now
                    seen = max(seen, len(list(here.iterdir())))
                    break
                time.sleep(0.1)
            mine.unlink()
            tune.report({"seen": seen, "device": os.environ["CUDA_VISIBLE_DEVICES"]})

        quarter = replace(recipe, workers=1, gpus_per_worker=0.25)
        results = tune.Tuner(
            tune.with_resources(trial, resources(quarter)),
            param_space={"number": tune.grid_search(list(range(5)))},
            run_config=tune.RunConfig(storage_path=str(folder / "tune"), verbose=0),
        ).fit()
        trials = [{name: result.metrics[name] for name in ("seen", "device")} for result in results]
        print(json.dumps({"trials": trials}))
        """,
    )
    assert [trial["device"] for trial in told["trials"]] == ["0"] * 5
    assert max(trial["seen"] for trial in told["trials"]) == 4


# Code of the recipe's file, which every cell's process imports: cells train on the CPU, and only after four of them
# have been running at the same time.
SHARED = """
import os
import time
from pathlib import Path

from raykd.launch.trials import trial
from raykd.recipe.study import Column, Row, Study

PLACE = Path({place!r})
RUNNING, FOUR = PLACE / "running", PLACE / "four"
plain = trial._in_this_process


def together(job, recipe, key, report):
    mine, until = RUNNING / str(os.getpid()), time.monotonic() + 200
    mine.touch()
    while not FOUR.exists() and time.monotonic() < until:
        time.sleep(0.1)
        if len(list(RUNNING.iterdir())) >= 4:
            time.sleep(2)  # a fifth would come now
            FOUR.touch()
    with open(PLACE / "seen", "a") as seen:
        seen.write(f"{{len(list(RUNNING.iterdir()))}} {{os.environ['CUDA_VISIBLE_DEVICES']}}\\n")
    plain(job, replace(recipe, gpus_per_worker=0), key, report)
    mine.unlink()


trial._in_this_process = together
rates = [SGD(learning_rate=0.01 * i) for i in range(1, 6)]
quarters = [replace(base, epochs=0.2, gpus_per_worker=0.25, optimizer=rate) for rate in rates]
study = Study(
    rows=(Row(name="alone", method=Fragile.Config()),),
    columns=tuple(Column(name=f"rate {{i}}", recipe=each) for i, each in enumerate(quarters)),
    seeds=(0,),
)
"""


@pytest.mark.slow
def test_as_many_cells_of_a_study_share_a_gpu_as_fit(tmp_path: Path):
    """Five cells of a quarter GPU on a node that declares one GPU, through the command line."""
    (tmp_path / "running").mkdir()
    path = tiny.write(tmp_path, "quarters", "base", tmp_path / "data")
    path.write_text(path.read_text() + SHARED.format(place=str(tmp_path)))
    told = story(
        tmp_path,
        """
        cluster = begin(0)
        cluster.add_node(num_cpus=8, num_gpus=1, object_store_memory=80_000_000)
        command = [sys.executable, "-m", "raykd", "study", words[0], "--storage", str(folder / "runs")]
        done = subprocess.run(command, env=os.environ | {"WANDB_MODE": "disabled"}, capture_output=True, text=True)
        print(json.dumps({"status": done.returncode, "log": done.stdout + done.stderr}))
        cluster.shutdown()
        """,
        str(path),
    )
    assert told["status"] == 0 and "5 of 5 runs are finished" in told["log"], told["log"]
    seen = [line.split() for line in (tmp_path / "seen").read_text().splitlines()]
    assert [device for _, device in seen] == ["0"] * 5
    assert sorted(int(count) for count, _ in seen)[-1] == 4
