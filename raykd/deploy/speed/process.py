"""A process that times ONNX files, or takes the memory of one; nothing but numpy and onnxruntime is in it.

Run by its path, with a JSON object as its only argument; prints a JSON object.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime

LEAST = 5  # passes of each network


def main(task: dict[str, Any]) -> dict[str, Any]:
    """The task names what to do: {"do": "time", …} or {"do": "memory", …}, see below."""
    tasks: dict[str, Callable[..., dict[str, Any]]] = {"time": times, "memory": memory}
    return tasks[task.pop("do")](**task)


def times(files: dict[str, tuple[str, int]], batch: int, threads: int, seconds: float) -> dict[str, Any]:
    """Median seconds of a pass of each network, file and image side by name, measured in turn.

    In turn, so that what else the machine does comes to all of them alike.
    """
    passes = {name: prepared(path, side, batch, threads) for name, (path, side) in files.items()}
    durations: dict[str, list[float]] = {name: [] for name in files}
    end = time.perf_counter() + seconds * len(files)
    while time.perf_counter() < end or min(map(len, durations.values())) < LEAST:
        for name, run in passes.items():
            begin = time.perf_counter()
            run()
            durations[name].append(time.perf_counter() - begin)
    return {name: median(values) for name, values in durations.items()}


def memory(path: str, side: int, batch: int, threads: int) -> dict[str, Any]:
    """The most memory, in bytes, that the process takes more for the network and one pass of it."""
    before = peak()
    prepared(path, side, batch, threads)()
    return {"bytes": peak() - before}


def peak() -> int:
    """The most bytes that this program has had in memory; getrusage would count the program that started it, too."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


def prepared(path: str, side: int, batch: int, threads: int) -> Callable[[], Any]:
    """A function that makes one pass of a network; two have been made."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).standard_normal((batch, 3, side, side), np.float32)
    given = {session.get_inputs()[0].name: images}
    for _ in range(2):
        session.run(None, given)
    return lambda: session.run(None, given)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
