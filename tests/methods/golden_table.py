"""Prints every method's differences from the authors' numbers: python -m tests.methods.golden_table FOLDER …"""

import sys
from functools import partial
from pathlib import Path

from tests.methods import trajectories
from tests.methods.golden import rows
from tests.support import golden
from tests.support.golden import Row


def folder_rows(folder: Path) -> list[Row]:
    """Rows of the losses of every file, and of the five-step runs."""
    steps = golden.load("08_trajectories", folder)
    whole = [row for case in trajectories.CASES if steps for row in trajectories.rows(steps, case)]
    whole = [row._replace(method=f"{row.method}, five steps") for row in whole]
    return [*rows(partial(golden.load, folder=folder)), *whole]


def table(found: list[Row]) -> list[str]:
    """A line per method: cases, largest relative difference of outputs, and of each gradient."""
    lines = ["| method | cases | loss and outputs | gradients |", "| --- | --- | --- | --- |"]
    for method in dict.fromkeys(row.method for row in found):
        own = [row for row in found if row.method == method]
        outputs = [row.difference for row in own if not row.what.startswith("d ")]
        gradients: dict[str, float] = {}
        for row in own:
            if row.what.startswith("d "):
                name = row.what[2:].rstrip("0123456789")
                gradients[name] = max(gradients.get(name, 0.0), row.difference)
        listed = ", ".join(f"{name} {value:.0e}" for name, value in gradients.items())
        lines.append(f"| {method} | {len({row.case for row in own})} | {max(outputs):.0e} | {listed or 'none'} |")
    return lines


if __name__ == "__main__":
    print("\n".join(table([row for folder in sys.argv[1:] for row in folder_rows(Path(folder))])))
