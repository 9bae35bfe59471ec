"""Progress display of a study: in a terminal the matrix, with mean and deviation of finished runs; lines in a log."""

import time
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from raykd.launch.study.plan import CellRun
from raykd.launch.study.record import Record
from raykd.launch.trials.job_progress import JobsProgress
from raykd.launch.trials.progress import cpus_in_use
from raykd.launch.trials.queue import Queue, State
from raykd.reports.tables.statistics import spread
from raykd.runs.results.read import read_result
from raykd.storage.folder import Folder
from raykd.terminal import Terminal

WIDTH = 14  # width of a column in characters
AROUND = 6  # lines beside the rows: the title, the columns' names, what is left out


class StudyProgress(JobsProgress):
    """Shows the runs of one queue as part of the whole study."""

    def __init__(
        self,
        queue: Queue,
        storage: str,
        console: Terminal,
        record: Record,
        runs: list[CellRun],
        finished: dict[str, float],
    ):
        """finished: top-1 of the finished runs by name; updated as runs end."""
        super().__init__(queue, storage, console)
        self.record, self.finished = record, finished
        self._runs = {run.name: run for run in runs}
        self._lengths: list[float] = []

    def started(self, name: str) -> None:
        if name in self._runs:
            self.record.note(self._runs[name].path, "running")

    def ended(self, names: list[str]) -> None:
        for name in names:
            state = self.queue.states[name]
            if state.status == "finished":
                self._lengths.append(time.monotonic() - state.began)
            if name not in self._runs:
                continue
            if state.status == "finished":
                result = read_result(Folder(self.storage) / name)
                self.finished[name] = result.top1 if result else 0.0
            self.record.note(self._runs[name].path, "finished" if name in self.finished else "failed", state.reason)

    def log(self, name: str, what: str) -> None:
        label = self._runs[name].label if name in self._runs else name
        super().log(label, f"{what} ({len(self.finished)} of {len(self._runs)} finished)")

    def table(self) -> Group:
        seconds = time.monotonic() - self._began
        left = seconds_left(self.queue, self._lengths, time.monotonic())
        ending = f"   about {duration(left)} left" if left is not None else ""
        teachers = [name for name in self.queue.jobs if name not in self._runs]
        trained = sum(self.queue.states[name].status == "finished" for name in teachers)
        taught = f"   {trained} of {len(teachers)} teachers" if teachers else ""
        if self.queue.elsewhere:
            taught += f" ({len(self.queue.elsewhere)} by another process)"
        counts = f"{len(self.finished)} of {len(self._runs)} runs{taught}"
        title = f"{counts}   {cpus_in_use()}   {duration(seconds)}{ending}"
        size = self.console.size
        states = {name: self.queue.states.get(name, State()) for name in self._runs}
        states |= {name: State("finished", top1=top1) for name, top1 in self.finished.items()}
        return matrix(list(self._runs.values()), states, title, size.width, size.height)


def matrix(runs: Sequence[CellRun], states: Mapping[str, State], title: str, width: int, height: int) -> Group:
    """Rows × columns, as many as fit: active ones are preferred, and the order is kept."""
    cells: dict[tuple[str, str], list[State]] = {}
    for run in runs:
        cells.setdefault((run.cell.row.name, run.cell.column.name), []).append(states[run.name])
    rows, columns = rows_and_columns(cells)
    busy = [cell for cell, of_cell in cells.items() if any(state.status == "running" for state in of_cell)]
    named = max(len(row) for row in rows)
    shown_rows = fitting(rows, {row for row, _ in busy}, height - AROUND)
    shown_columns = fitting(columns, {column for _, column in busy}, (width - named) // (WIDTH + 2))
    texts = {place: cell_text(of_cell) for place, of_cell in cells.items()}
    left = [
        f"{count} more {kind}{'' if count == 1 else 's'}"
        for count, kind in ((len(rows) - len(shown_rows), "row"), (len(columns) - len(shown_columns), "column"))
        if count
    ]
    table = grid(shown_rows, shown_columns, texts, WIDTH)
    return Group(title, table, *([Text(f"and {', '.join(left)}", "dim")] if left else []))


def rows_and_columns(cells: Iterable[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """The names of the rows and of the columns that have cells, in their order."""
    rows, columns = zip(*cells, strict=True)
    return list(dict.fromkeys(rows)), list(dict.fromkeys(columns))


def grid(
    rows: Sequence[str],
    columns: Sequence[str],
    texts: Mapping[tuple[str, str], str | Text],
    width: int | None = None,
) -> Table:
    """A table of the texts of cells. width: maximum width of a column in characters."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right", max_width=width, overflow="fold")
    for row in rows:
        table.add_row(row, *(texts.get((row, column), "") for column in columns))
    return table


def fitting(names: list[str], busy: set[str], most: int) -> list[str]:
    """As many names as fit, at least one; busy ones are preferred, and the order is kept."""
    first = sorted(names, key=lambda name: name not in busy)[: max(1, most)]
    return [name for name in names if name in first]


def cell_text(states: list[State]) -> Text:
    """ "99.41 ± 0.13" of finished runs; "99.41 25 %" while others run, the progress of the furthest; else "failed"."""
    done = spread(state.top1 for state in states if state.status == "finished" and state.top1 is not None)
    running = [state.epoch / state.epochs for state in states if state.status == "running"]
    failed = any(state.status == "failed" for state in states)
    parts = []
    if done.n:
        deviation = f" ± {100 * done.deviation:.2f}" if done.n > 1 and not running and not failed else ""
        parts.append((f"{100 * done.mean:.2f}{deviation}", "green" if done.n == len(states) else ""))
    if running:
        parts.append((f"{100 * max(running):.0f} %", "cyan"))
    elif failed:
        parts.append(("failed", "red"))
    if not parts:
        return Text("·", "dim")
    return Text(" ").join(Text(*part) for part in parts)


def seconds_left(queue: Queue, lengths: list[float], now: float) -> float | None:
    """Estimated remaining seconds, from the mean of ended jobs and the concurrency; None before the first end."""
    running = [state for state in queue.states.values() if state.status == "running" and state.began]
    waiting = sum(state.status == "waiting" for state in queue.states.values())
    if not lengths or not running:
        return None
    mean = sum(lengths) / len(lengths)
    left = sum(max(0.0, mean - (now - state.began)) for state in running) + waiting * mean
    return left / len(running)


def duration(seconds: float) -> str:
    """ "45 s", "12 min", "3 h 20 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
