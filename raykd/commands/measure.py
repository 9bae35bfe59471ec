"""raykd export --measure: a table of the inference costs of the student and its teachers."""

from collections.abc import Callable
from functools import partial

from rich.table import Table

from raykd.runs.results.deployment import Deployment, Latency, NetworkCost
from raykd.terminal import Terminal


def show(deployment: Deployment) -> None:
    """Print one column for each network, and for each teacher one with its ratios to the student."""
    student, *teachers = deployment.networks
    names = [network.name for network in deployment.networks] + [f"{teacher.name} : student" for teacher in teachers]
    table = Table("", box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, justify="right")
    for title, (value, shown) in _measures(deployment).items():
        ratios = (_ratio(value(teacher), value(student)) for teacher in teachers)
        table.add_row(title, *(shown(value(network)) for network in deployment.networks), *ratios)
    terminal = Terminal()
    terminal.print(table)
    terminal.print(f"float32 on {deployment.machine}; latency: median of alternating passes")


def _measures(deployment: Deployment) -> dict[str, tuple[Callable[[NetworkCost], float], Callable[[float], str]]]:
    """By title: a network's value, and its format."""
    batch = max(each.batch for each in deployment.networks[0].latencies)
    measures: dict[str, tuple[Callable[[NetworkCost], float], Callable[[float], str]]] = {
        "top-1": (lambda n: n.top1, lambda x: f"{100 * x:.2f} %" if x == x else ""),
        "parameters": (lambda n: n.parameters, "{:,.0f}".format),
        "multiply-adds per image": (lambda n: n.flops, "{:,.0f}".format),
        "file": (lambda n: n.file_bytes, _megabytes),
        f"memory for {batch} images": (lambda n: n.memory_bytes, _megabytes),
    }
    for each in deployment.networks[0].latencies:
        latency = partial(NetworkCost.latency, batch=each.batch, threads=each.threads)
        measures[_setting(each)] = (latency, lambda x: f"{1000 * x:.2f} ms")
    return measures | {"highest images/s": (lambda n: n.images_per_second, "{:,.0f}".format)}


def _setting(latency: Latency) -> str:
    images = "1 image" if latency.batch == 1 else f"{latency.batch} images"
    return f"{images}, 1 thread" if latency.threads == 1 else f"{images}, {latency.threads} threads"


def _megabytes(count: float) -> str:
    return f"{count / 1e6:.2f} MB"


def _ratio(teacher: float, student: float) -> str:
    return f"×{teacher / student:.2f}" if student > 0 and teacher == teacher else ""
