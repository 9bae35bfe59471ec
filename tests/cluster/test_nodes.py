"""Two and three Ray nodes on one machine: distributed runs, lost and new nodes, and the placement of workers."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.cluster.head import ROOT, environment

PRELUDE = """
import json, os, subprocess, sys, threading, time
from pathlib import Path
from ray.cluster_utils import Cluster

folder, words = Path(sys.argv[1]), sys.argv[2:]

def begin(*cpus):
    cluster = Cluster(shutdown_at_exit=True)
    for i, count in enumerate(cpus):
        options = {"temp_dir": str(folder / "ray"), "include_dashboard": False} if i == 0 else {}
        cluster.add_node(num_cpus=count, object_store_memory=80_000_000, **options)
    os.environ["RAY_ADDRESS"] = cluster.address
    return cluster

def train(*more):
    command = [sys.executable, "-m", "raykd", "train", "recipes/digits/supervised.py", "--wandb.mode", "disabled",
               "--storage", str(folder / "runs"), *words, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

def attempts():
    path = folder / "runs/digits/supervised/attempts.json"
    return json.loads(path.read_text()) if path.exists() else []

def until(lines, run, what):
    for line in run.stdout:
        lines.append(line)
        if what in line:
            return
    raise SystemExit("never: " + what + "\\n" + "".join(lines))

def end(lines, run):
    lines.extend(run.stdout)
    print(json.dumps({"status": run.wait(), "log": "".join(lines), "attempts": attempts()}))
"""


def story(tmp_path: Path, text: str, *words: str) -> dict:
    """Runs a scenario in its own process (Cluster has global state), with Ray's files under a short path."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="rkd", dir="/tmp"))
    script = tmp_path / "story.py"
    script.write_text(PRELUDE + textwrap.dedent(text))
    env = environment(folder) | {"PYTHONPATH": str(ROOT), "RAYKD_STORAGE": str(folder / "runs")}
    try:
        command = [sys.executable, str(script), str(folder), *words]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=540)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        found = json.loads(done.stdout.strip().splitlines()[-1])
        result = folder / "runs/digits/supervised/result.json"
        found["result"] = json.loads(result.read_text()) if result.exists() else None
        return found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_a_run_uses_three_nodes(tmp_path):
    """One CPU per node and three workers, so that they must run on three nodes. The head has no CPU, as in cluster/."""
    told = story(
        tmp_path,
        """
        cluster = begin(0, 1, 1, 1)
        lines, run = [], train("--workers", "3", "--batch-size", "66", "--epochs", "2")
        end(lines, run)
        cluster.shutdown()
        """,
    )
    assert told["status"] == 0, told["log"]
    assert told["result"]["status"] == "finished" and told["result"]["workers"] == 3
    assert told["result"]["restarts"] == 0


@pytest.mark.slow
def test_a_run_survives_a_lost_node(tmp_path):
    """A worker's node is removed after the first checkpoint and another one added; the run resumes from the
    checkpoint."""
    told = story(
        tmp_path,
        """
        cluster = begin(0, 1, 1)
        lines, run = [], train("--workers", "2", "--epochs", "12")
        until(lines, run, "epoch    3")
        cluster.remove_node(list(cluster.worker_nodes)[0])
        time.sleep(5)
        cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
        end(lines, run)
        cluster.shutdown()
        """,
    )
    assert told["status"] == 0, told["log"]
    assert told["result"]["restarts"] >= 1 and told["result"]["epochs"] == 12
    assert told["attempts"][0]["step"] == 0 and told["attempts"][-1]["step"] > 0
    assert "waiting for 2 worker(s) of 1 CPU" in told["log"] or len(told["attempts"]) == 2


@pytest.mark.slow
def test_a_new_node_is_used(tmp_path):
    """An elastic run starts with one worker and continues with two once there is a second node."""
    told = story(
        tmp_path,
        """
        cluster = begin(0, 1)
        lines, run = [], train("--workers", "1", "2", "--epochs", "400")
        until(lines, run, "epoch    2")
        cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
        for line in run.stdout:
            lines.append(line)
            if attempts()[-1]["workers"] == 2 and "epoch" in line:
                run.send_signal(15)
                break
        end(lines, run)
        cluster.shutdown()
        """,
    )
    assert told["status"] == 143, told["log"]
    assert [attempt["workers"] for attempt in told["attempts"]] == [1, 2]
    assert told["attempts"][1]["step"] > 0


def test_impossible_runs_are_rejected_and_waiting_runs_report_why(tmp_path):
    """Two CPUs on two nodes: three workers never fit; two fit, but wait while another run uses a CPU."""
    told = story(
        tmp_path,
        """
        from dataclasses import replace
        import ray
        from raykd import UserError
        from raykd.launch.cluster import capacity
        from raykd.recipes.digits.supervised import recipe

        cluster = begin(0, 1, 1)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        told = {}
        capacity.check_capacity(replace(recipe, workers=2))
        for name, wrong in {
            "many": replace(recipe, workers=3),
            "large": replace(recipe, workers=1, cpus_per_worker=2),
            "gpu": replace(recipe, workers=1, gpus_per_worker=1, accelerator_type="A100"),
            "label": replace(recipe, workers=1, node_labels=("zone=moon",)),
        }.items():
            try:
                capacity.check_capacity(wrong)
            except UserError as error:
                told[name] = str(error)
        told["idle"] = capacity.waiting(replace(recipe, workers=2))
        from ray.util import placement_group

        held = placement_group([{"CPU": 1}])
        ray.get(held.ready())
        mine = placement_group([{"CPU": 1}, {"CPU": 1}])
        for _ in range(100):
            time.sleep(0.1)
            told["busy"] = capacity.waiting(replace(recipe, workers=2))
            if told["busy"]:
                break
        ray.util.remove_placement_group(held)
        ray.get(mine.ready())
        told["placed"] = capacity.waiting(replace(recipe, workers=2))
        print(json.dumps(told))
        ray.shutdown()
        cluster.shutdown()
        """,
    )
    wrong = {"many": "3 worker(s) of 1 CPU", "large": "2 CPU each", "label": "label zone=moon"}
    for name, part in (wrong | {"gpu": "1 CPU, 1 GPU, accelerator_type:A100"}).items():
        assert part in told[name] and "can never run here" in told[name], told
    assert told["idle"] == told["placed"] == ""
    assert told["busy"] == "waiting for 2 worker(s) of 1 CPU: 3 node(s), room for 1 now"


def test_workers_are_packed_and_runs_spread(tmp_path):
    """Two nodes of two CPUs. A student's two workers share a node; two teachers of one worker each don't."""
    told = story(
        tmp_path,
        """
        import ray
        from ray.util import placement_group, placement_group_table

        cluster = begin(0, 2, 2)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")

        def nodes(group):
            ray.get(group.ready())
            return list(placement_group_table(group)["bundles_to_node_id"].values())

        student = placement_group([{"CPU": 1}, {"CPU": 1}], strategy="PACK")
        packed = nodes(student)
        ray.util.remove_placement_group(student)
        time.sleep(2)
        teachers = [nodes(placement_group([{"CPU": 1}], strategy="PACK"))[0] for _ in range(2)]
        print(json.dumps({"packed": packed, "teachers": teachers}))
        ray.shutdown()
        cluster.shutdown()
        """,
    )
    assert len(set(told["packed"])) == 1
    assert len(set(told["teachers"])) == 2
