"""A process that measures the time or memory of ONNX files; it imports only numpy and onnxruntime.

It is run by its path with a JSON object as its only argument, and prints a JSON object.
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
    """Run a task: {"do": "time", …} or {"do": "memory", …}, with the arguments of the function below."""
    tasks: dict[str, Callable[..., dict[str, Any]]] = {"time": times, "memory": memory}
    return tasks[task.pop("do")](**task)


def times(files: dict[str, tuple[str, int]], batch: int, threads: int, seconds: float) -> dict[str, Any]:
    """Median seconds of a pass of each network. files: file and image side by name.

    The networks run alternately, so that other load on the machine affects all of them equally.
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
    """The growth of peak memory, in bytes, by loading the network and running one pass."""
    before = peak()
    prepared(path, side, batch, threads)()
    return {"bytes": peak() - before}


def peak() -> int:
    """Peak memory of this program in bytes; getrusage would include the program that started it."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


def prepared(path: str, side: int, batch: int, threads: int) -> Callable[[], Any]:
    """A function that runs one pass of a network, after two warm-up passes."""
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
