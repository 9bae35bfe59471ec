"""Ray's own autoscaler with its fake machines: 0 nodes, as many as the work needs, 0 nodes again."""

import json
import time
from contextlib import contextmanager

import pytest

from tests.cluster.head import Head, head

CONFIG = {
    "cluster_name": "fake",
    "max_workers": 2,
    "upscaling_speed": 10.0,
    "idle_timeout_minutes": 0.1,
    "provider": {"type": "fake_multinode"},
    "auth": {},
    "docker": {},
    "head_node_type": "head",
    "available_node_types": {
        "head": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
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


@contextmanager
def autoscaled(tmp_path):
    path = tmp_path / "autoscaling.json"
    path.write_text(json.dumps(CONFIG))
    with head(0, f"--autoscaling-config={path}", RAY_FAKE_CLUSTER="1", AUTOSCALER_UPDATE_INTERVAL_S="1") as one:
        yield one


def nodes(one: Head) -> int:
    """Nodes alive besides the head."""
    words = ("list", "nodes", "--format", "json", "--filter", "state=ALIVE", "--address", one.dashboard)
    listed = one.run("ray", *words)
    assert listed.returncode == 0, listed.stderr
    return sum(not node["is_head_node"] for node in json.loads(listed.stdout))


def until(one: Head, count: int, seconds: int = 240) -> None:
    end = time.monotonic() + seconds
    while nodes(one) != count:
        assert time.monotonic() < end, f"{nodes(one)} nodes instead of {count}"
        time.sleep(2)


@pytest.mark.slow
def test_a_run_makes_nodes_come_and_go(tmp_path):
    with autoscaled(tmp_path) as one:
        assert nodes(one) == 0
        words = ("recipes/digits/supervised.py", "--epochs", "3", "--wandb.mode", "disabled", "--address", one.dashboard)
        done = one.run("raykd", "submit", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "waiting for 2 worker(s) of 1 CPU: 1 node(s), room for 0 now; the autoscaler may add 2 node(s)" in done.stdout
        result = json.loads((one.folder / "raykd/runs/digits/supervised/result.json").read_text())
        assert result["status"] == "finished" and result["workers"] == 2 and result["restarts"] == 0
        until(one, 0)
        never = one.run("raykd", "submit", *words, "--workers", "3", "--name", "never")
        assert never.returncode == 2
        assert "can never run here, there is room for 2 even when the autoscaler has added all it may" in never.stdout
