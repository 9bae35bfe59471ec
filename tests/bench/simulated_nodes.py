"""A Ray cluster of several nodes that all run on this machine, in a process of its own."""

import json
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.head import ROOT, environment

KEEPER = """
import json, sys
from ray.cluster_utils import Cluster

head = {"num_cpus": 0, "object_store_memory": 80_000_000, "temp_dir": sys.argv[1], "include_dashboard": True}
cluster = Cluster(shutdown_at_exit=True)
cluster.add_node(**head)
for cpus in sys.argv[2:]:
    cluster.add_node(num_cpus=int(cpus), object_store_memory=80_000_000)
print("address", cluster.address, flush=True)
for line in sys.stdin:
    from ray.util.state import summarize_tasks
    found = summarize_tasks(address=cluster.address, timeout=60)["cluster"]["summary"]
    print("calls", json.dumps({name: sum(each["state_counts"].values()) for name, each in found.items()}), flush=True)
"""

PATIENT = {"RAY_raylet_start_wait_time_s": "600"}  # many nodes start at once on few cores


@contextmanager
def simulated_nodes(place: Path, cpus: Sequence[int]) -> Iterator[tuple[dict[str, str], Callable[[], dict[str, int]]]]:
    """The environment of a driver that joins nodes of so many CPUs, and a function that counts Ray's calls by name."""
    env = environment(place) | {"PYTHONPATH": str(ROOT), "WANDB_MODE": "disabled"} | PATIENT
    command = [sys.executable, "-c", KEEPER, str(place / "ray"), *map(str, cpus)]
    keeper = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: [lines.put(line) for line in keeper.stdout or ()], daemon=True).start()

    def answer(word: str) -> str:
        while True:
            line = lines.get(timeout=900)
            if found := re.match(rf"{word} (.*)\n", line):
                return found[1]

    def calls() -> dict[str, int]:
        assert keeper.stdin is not None
        keeper.stdin.write("calls\n")
        keeper.stdin.flush()
        return json.loads(answer("calls"))

    try:
        yield env | {"RAY_ADDRESS": answer("address")}, calls
    finally:
        keeper.communicate("")
