"""make bench ARGS="--group step --json": measures ratios on this machine; prints a table or JSON lines per group."""

import argparse
import importlib
import json
import platform
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

# Each module has rows(), an iterator of dicts of plain values with the same keys, the names of what is measured first.
GROUPS = {
    "data": "tests.bench.data",
    "larger": "tests.bench.larger",
    "step": "tests.bench.step",
    "kernels": "tests.bench.kernels",
    "gpu": "tests.bench.gpu",
    "teachers": "tests.bench.teachers",
    "cache": "tests.bench.cache",
    "scale": "tests.bench.scale",
    "cells": "tests.bench.cells",
    "startup": "tests.bench.startup",
    "networks": "tests.bench.networks",
    "page": "tests.bench.page",
    "growth": "tests.bench.growth",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--group", choices=GROUPS, action="append", help="a group; all where none is named")
    parser.add_argument("--json", action="store_true", help="a JSON object a line instead of tables")
    parser.add_argument("--plot", type=Path, help="an .svg of group growth")
    chosen = parser.parse_args()
    for name in chosen.group or GROUPS:
        options = {"plot": chosen.plot} if name == "growth" else {}
        rows = importlib.import_module(GROUPS[name]).rows(**options)
        if chosen.json:
            print(json.dumps({"group": name, **machine(), "rows": list(rows)}), flush=True)
        else:
            _print(name, rows)


def machine() -> dict[str, Any]:
    import os

    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return {"cpus": os.cpu_count(), "cpu": platform.processor(), "gpu": device, "torch": torch.__version__}


def _print(name: str, rows: Iterator[dict[str, Any]]) -> None:
    """Print each row as soon as it is measured; column widths are those of the first row, or slightly more."""
    widths: list[int] = []
    for row in rows:
        cells = [f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()]
        if not widths:
            widths = [max(len(key), len(cell) + 2, LEAST.get(key, 0)) for key, cell in zip(row, cells)]
            print(f"\n{name}\n{_line(row, widths)}", flush=True)
        print(_line(cells, widths), flush=True)


# Widths of columns whose first value may be shorter than others.
LEAST = {"what": 64, "method": 12, "networks": 26, "teachers": 28, "raykd's teachers": 16, "form": 13, "unit": 24}


def _line(cells: Iterable[str], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip()


if __name__ == "__main__":
    main()
