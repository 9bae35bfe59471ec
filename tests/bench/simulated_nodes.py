"""A Ray cluster of several nodes that all run on this machine, in a process of its own."""

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.head import ROOT, environment

# All nodes share a machine: workers start a few at a time, may take long to import, have the driver's priority, and are
# not ended by Ray to free memory.
PATIENT = {
    "RAY_worker_niceness": "0",
    "RAY_worker_maximum_startup_concurrency": "4",
    "RAY_worker_register_timeout_seconds": "900",
    "RAY_memory_monitor_refresh_ms": "0",
}

KEEPER = """
import sys
from ray.cluster_utils import Cluster

cluster = Cluster(shutdown_at_exit=True)
head = {"temp_dir": sys.argv[1], "include_dashboard": False}
for number, cpus in enumerate(sys.argv[2:]):
    cluster.add_node(num_cpus=int(cpus), object_store_memory=80_000_000, **({} if number else head))
print("address", cluster.address, flush=True)
sys.stdin.read()
"""


@contextmanager
def simulated_nodes(place: Path, cpus: Sequence[int]) -> Iterator[dict[str, str]]:
    """The environment of a driver that joins nodes that declare so many CPUs each; the first one is the head."""
    env = environment(place) | PATIENT | {"PYTHONPATH": str(ROOT), "WANDB_MODE": "disabled"}
    command = [sys.executable, "-c", KEEPER, str(place / "ray"), *map(str, cpus)]
    keeper = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert keeper.stdout is not None
    try:
        found = (re.match(r"address (.*)\n", line) for line in keeper.stdout)
        address = next((match[1] for match in found if match), "")
        if not address:
            raise RuntimeError("Ray's nodes did not start in time")
        yield env | {"RAY_ADDRESS": address}
    finally:
        keeper.communicate("")
