"""Measures a student and its teachers with onnxruntime, and writes the run's deployment.json."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from raykd import UserError
from raykd.deploy.deployed import Deployed
from raykd.deploy.files import exporting
from raykd.deploy.onnx.export import expect_packages, float_graph, save
from raykd.models.cost import flops
from raykd.models.staged import Staged, parameters
from raykd.runs.results.deployment import FILE, Deployment, Latency, NetworkCost
from raykd.runs.results.read import read_evaluation
from raykd.storage.atomic import temporary_folder
from raykd.teachers.load import load_teachers

PROCESS = Path(__file__).with_name("process.py")  # not imported, as it imports onnxruntime, which may be missing
STUDENT = "student"
BATCHES = (1, 32)
SECONDS = 1.0  # of passes of each network, each batch and each number of threads


def measure(deployed: Deployed, trained: Sequence[str]) -> Deployment:
    """Latency, memory and size of the run's student and teachers on this machine.

    trained: run directories of the teachers that were trained for it. Raises UserError if a teacher is missing.
    """
    expect_packages()
    networks = {name: (network, count) for name, network, count in _networks(deployed, trained)}
    top1 = _accuracies(deployed, list(networks))
    with temporary_folder() as folder:
        files = {name: _written(networks[name][0], folder / f"{i}.onnx") for i, name in enumerate(networks)}
        latencies = _latencies(files)
        costs = [
            NetworkCost(
                name=name,
                top1=top1[name],
                parameters=count,
                flops=flops(network.model, network.native_size),
                file_bytes=Path(files[name][0]).stat().st_size,
                memory_bytes=_memory(*files[name]),
                latencies=latencies[name],
            )
            for name, (network, count) in networks.items()
        ]
    return Deployment(machine=machine(), threads=all_threads(), networks=costs)


def write_deployment(deployed: Deployed, measured: Deployment) -> None:
    """Write deployment.json into the run's directory."""
    deployed.run.write(FILE, measured.model_dump_json(indent=1) + "\n")


def _networks(deployed: Deployed, trained: Sequence[str]) -> Iterator[tuple[str, Staged, int]]:
    """Name, network and number of parameters of the student and of each teacher."""
    yield STUDENT, deployed.network, parameters(deployed.network)
    recipe, classes = deployed.recipe, deployed.about.classes
    compares = recipe.method.compares_classes
    for teacher in load_teachers(recipe.teachers, deployed.data, classes, trained, compares):
        yield teacher.name, teacher.network, teacher.parameters


def _accuracies(deployed: Deployed, names: Sequence[str]) -> dict[str, float]:
    """Top-1 as measured by the run; NaN if it was not."""
    evaluation = read_evaluation(deployed.run)
    top1 = dict.fromkeys(names, float("nan"))
    if evaluation is not None:
        top1[STUDENT] = next(iter(evaluation.networks.values())).top1
        top1 |= {name: teacher.top1 for name, teacher in evaluation.teachers.items() if name in top1}
    return top1


def _written(network: Staged, path: Path) -> tuple[str, int]:
    """Write the plain network for images of its own size; returns the path and the images' side."""
    import torch

    side = network.native_size
    with exporting(network.name, ".onnx"):
        graph = float_graph(network.model.eval(), torch.zeros(2, 3, side, side))
    save(graph, path, {})
    return str(path), side


def _latencies(files: dict[str, tuple[str, int]]) -> dict[str, list[Latency]]:
    latencies: dict[str, list[Latency]] = {name: [] for name in files}
    for batch in BATCHES:
        for threads in sorted({1, all_threads()}):
            times = _run(do="time", files=files, batch=batch, threads=threads, seconds=SECONDS)
            for name, value in times.items():
                latencies[name].append(Latency(batch=batch, threads=threads, seconds=value))
    return latencies


def _memory(path: str, side: int) -> int:
    return _run(do="memory", path=path, side=side, batch=max(BATCHES), threads=all_threads())["bytes"]


def _run(**task: Any) -> dict[str, Any]:
    """The result of a task of PROCESS, in a separate process without the time and memory of raykd."""
    command = [sys.executable, str(PROCESS), json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise UserError(
            f"onnxruntime can't run the networks on this machine: {' '.join(last) or 'its process was killed'}"
        )
    return json.loads(done.stdout)


def all_threads() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def machine() -> str:
    """The processor, as the system calls it, and onnxruntime's version."""
    import onnxruntime

    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, onnxruntime {onnxruntime.__version__}"
