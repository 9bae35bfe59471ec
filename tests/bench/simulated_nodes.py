"""A Ray cluster of several nodes that all run on this machine, in a process of its own."""

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.head import ROOT, environment

KEEPER = """
import sys
from ray.cluster_utils import Cluster

cluster = Cluster(shutdown_at_exit=True)
small = {"object_store_memory": 80_000_000}
cluster.add_node(num_cpus=0, temp_dir=sys.argv[1], include_dashboard=False, **small)
for cpus in sys.argv[2:]:
    cluster.add_node(num_cpus=int(cpus), **small)
print("address", cluster.address, flush=True)
sys.stdin.read()
"""
PATIENT = {"RAY_raylet_start_wait_time_s": "600"}  # many nodes start on few cores


@contextmanager
def simulated_nodes(place: Path, cpus: Sequence[int]) -> Iterator[dict[str, str]]:
    """The environment of a driver that joins a head and nodes of so many CPUs each."""
    env = environment(place) | {"PYTHONPATH": str(ROOT), "WANDB_MODE": "disabled"} | PATIENT
    command = [sys.executable, "-c", KEEPER, str(place / "ray"), *map(str, cpus)]
    keeper = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert keeper.stdout is not None
    try:
        found = (re.match(r"address (.*)\n", line) for line in keeper.stdout)
        yield env | {"RAY_ADDRESS": next(match[1] for match in found if match)}
    finally:
        keeper.communicate("")
