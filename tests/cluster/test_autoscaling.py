"""Ray's autoscaler with simulated machines: from 0 nodes to as many as the work needs, and back to 0."""

import json
import re
import shutil
import time
from contextlib import contextmanager

import pytest

from tests.cluster.head import ROOT, Head, free_port, head

CONFIG = {
    "cluster_name": "fake",
    "max_workers": 2,
    "upscaling_speed": 10.0,
    "idle_timeout_minutes": 0.1,
    "auth": {},
    "docker": {},
    "head_node_type": "ray.head.default",  # the fake machines' name for it
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "cpu": {
            "resources": {"CPU": 1, "object_store_memory": 100_000_000},
            "node_config": {},
            "min_workers": 0,
            "max_workers": 2,
        },
    },
    "file_mounts": {},
    "cluster_synced_files": [],
    "file_mounts_sync_continuously": False,
    "rsync_exclude": [],
    "rsync_filter": [],
    "initialization_commands": [],
    "setup_commands": [],
    "head_setup_commands": [],
    "worker_setup_commands": [],
    "head_start_ray_commands": [],
    "worker_start_ray_commands": [],
}


# The machines share one address, and nothing is to be set up on them by ssh.
FAKE = {"type": "fake_multinode", "use_node_id_as_ip": True, "disable_node_updaters": True}
FAKE |= {"disable_launch_config_check": True}
EMPTY = "worker(s) of 1 CPU: 1 node(s), room for 0 now; the autoscaler may add 2 node(s)"

SEARCH = """
from dataclasses import replace
from ray import tune
from raykd.recipe import Search
from supervised import recipe
space = {"optimizer.learning_rate": tune.grid_search([0.01, 0.03, 0.1, 0.3])}
recipe = replace(recipe, epochs=2, workers=1, search=Search(space=space, samples=1))
"""


@contextmanager
def autoscaled(tmp_path):
    from ray._private.services import get_node_ip_address

    path, port = tmp_path / "autoscaling.json", free_port()
    address = f"{get_node_ip_address()}:{port}"  # Ray makes this of the loopback address that it was given
    path.write_text(json.dumps(CONFIG | {"provider": FAKE | {"gcs_address": address}}))
    fast = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
    with head(0, f"--autoscaling-config={path}", port=port, **fast) as one:
        yield one, address


def nodes(one: Head) -> int:
    """Nodes alive besides the head."""
    for _ in range(20):
        listed = one.run("ray", "list", "nodes", "--format", "json", "--address", one.dashboard)
        found = json.loads(listed.stdout) if listed.stdout.startswith("[") else []
        alive = [node for node in found if node["state"] == "ALIVE"]
        if any(node["is_head_node"] for node in alive):  # the dashboard has its data by now
            return sum(not node["is_head_node"] for node in alive)
        time.sleep(1)
    raise AssertionError(listed.stdout + listed.stderr)


def until(one: Head, count: int, seconds: int = 240) -> None:
    end = time.monotonic() + seconds
    while nodes(one) != count:
        assert time.monotonic() < end, f"{nodes(one)} nodes instead of {count}"
        time.sleep(2)


@pytest.mark.slow
def test_a_run_scales_the_cluster_up_and_down(tmp_path):
    with autoscaled(tmp_path) as (one, _):
        assert nodes(one) == 0
        words = ("recipes/digits/supervised.py", "--epochs", "3", "--wandb.mode", "disabled")
        done = one.run("raykd", "submit", *words, "--address", one.dashboard)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"waiting for 2 {EMPTY}" in done.stdout
        result = json.loads((one.folder / "raykd/runs/digits/supervised/result.json").read_text())
        assert result["status"] == "finished" and result["workers"] == 2 and result["restarts"] == 0
        until(one, 0)
        never = one.run("raykd", "submit", *words, "--workers", "3", "--name", "never", "--address", one.dashboard)
        assert never.returncode == 2
        assert "can never run here: there is room for 2 even if the autoscaler adds all its nodes" in never.stdout


@pytest.mark.slow
def test_a_search_scales_the_cluster_up_and_down(tmp_path):
    """Four trials on at most two nodes of one CPU: no trial fails for lack of a node, both nodes are used, and both are
    removed."""
    shutil.copy(ROOT / "recipes/digits/supervised.py", tmp_path)
    (tmp_path / "rates.py").write_text(SEARCH)
    with autoscaled(tmp_path) as (one, address):
        # Not as a job: the fake machines share one folder, so each would overwrite the job's code that others use.
        words = (str(tmp_path / "rates.py"), "--wandb.mode", "disabled", "--storage", str(one.folder / "runs"))
        sweep = one.start("raykd", "tune", *words, "--name", "rates", RAY_ADDRESS=address)
        until(one, 2)
        log = sweep.communicate(timeout=400)[0]
        assert sweep.returncode == 0, log
        # The first new node may already have started, and its CPU be reserved, when the search counts nodes.
        assert re.search(r"waiting for 1 worker\(s\) of 1 CPU: [12] node\(s\), room for 0 now; the autoscaler may", log)
        summary = json.loads((one.folder / "runs/rates/search.json").read_text())
        assert summary["status"] == "finished" and summary["states"] == {"finished": 4}, summary
        until(one, 0)
