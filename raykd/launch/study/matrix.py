"""The live table of a study: mean and deviation of finished runs, progress of running ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group
from rich.table import Table
from rich.text import Text

from raykd.launch.study.plan import CellRun
from raykd.reports.tables.statistics import spread

WIDTH = 14  # width of a column in characters
AROUND = 6  # lines beside the rows: the title, the columns' names, what is left out


@dataclass(frozen=True)
class RunState:
    """One run as the matrix shows it; progress: fraction of its epochs."""

    status: str
    top1: float | None = None
    progress: float = 0.0


def matrix(runs: Sequence[CellRun], states: Mapping[str, RunState], title: str, width: int, height: int) -> Group:
    """Rows × columns, as many as fit: active ones are preferred, and the order is kept."""
    cells: dict[tuple[str, str], list[RunState]] = {}
    for run in runs:
        cells.setdefault((run.cell.row.name, run.cell.column.name), []).append(states[run.name])
    rows = list(dict.fromkeys(row for row, _ in cells))
    columns = list(dict.fromkeys(column for _, column in cells))
    busy = [cell for cell, runs_of in cells.items() if any(state.status == "running" for state in runs_of)]
    named = max(len(row) for row in rows)
    shown_rows = fitting(rows, {row for row, _ in busy}, height - AROUND)
    shown_columns = fitting(columns, {column for _, column in busy}, (width - named) // (WIDTH + 2))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for column in shown_columns:
        table.add_column(column, justify="right", max_width=WIDTH, overflow="fold")
    for row in shown_rows:
        table.add_row(row, *(cell_text(cells.get((row, column), [])) for column in shown_columns))
    left = [
        f"{count} more {kind}{'' if count == 1 else 's'}"
        for count, kind in ((len(rows) - len(shown_rows), "row"), (len(columns) - len(shown_columns), "column"))
        if count
    ]
    return Group(title, table, *([Text(f"and {', '.join(left)}", "dim")] if left else []))


def fitting(names: list[str], busy: set[str], most: int) -> list[str]:
    """As many names as fit, at least one; busy ones are preferred, and the order is kept."""
    first = sorted(names, key=lambda name: name not in busy)[: max(1, most)]
    return [name for name in names if name in first]


def cell_text(states: list[RunState]) -> Text:
    """ "99.41 ± 0.13" of finished runs; "99.41 25 %" while others run, the progress of the furthest; else "failed"."""
    done = spread(state.top1 for state in states if state.status == "finished" and state.top1 is not None)
    running = [state.progress for state in states if state.status == "running"]
    failed = any(state.status == "failed" for state in states)
    parts = []
    if done.n:
        deviation = f" ± {100 * done.deviation:.2f}" if done.n > 1 and not running and not failed else ""
        parts.append((f"{100 * done.mean:.2f}{deviation}", "green" if done.n == len(states) else ""))
    if running:
        parts.append((f"{100 * max(running):.0f} %", "cyan"))
    elif failed:
        parts.append(("failed", "red"))
    if not parts and states:
        return Text("·", "dim")
    return Text(" ").join(Text(*part) for part in parts)
