"""make bench ARGS="--group step --json": ratios measured in one run on this machine, a table or a JSON line a group."""

import argparse
import importlib
import json
import platform
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

# Each module has rows(): an iterator of dicts with the same keys, plain values, what was measured first.
GROUPS = {
    "data": "tests.bench.data",
    "larger": "tests.bench.larger",
    "step": "tests.bench.step",
    "teachers": "tests.bench.teachers",
    "scale": "tests.bench.scale",
    "startup": "tests.bench.startup",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--group", choices=GROUPS, action="append", help="a group; all where none is named")
    parser.add_argument("--json", action="store_true", help="a JSON object a line instead of tables")
    chosen = parser.parse_args()
    for name in chosen.group or GROUPS:
        rows = importlib.import_module(GROUPS[name]).rows()
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
    table = None
    for row in rows:
        table = table or Table(*row, title=name, title_justify="left", box=None, pad_edge=False, header_style="bold")
        table.add_row(*(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()))
    if table is not None:
        Console().print(table)


if __name__ == "__main__":
    main()
