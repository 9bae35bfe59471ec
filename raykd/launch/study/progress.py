"""Progress display of a study: the matrix in a terminal, lines in a log; also records how runs end."""

import time
from collections.abc import Mapping

from rich.console import Group

from raykd.launch.study.matrix import RunState, matrix
from raykd.launch.study.plan import CellRun
from raykd.launch.study.record import Record
from raykd.launch.trials.job_progress import JobsProgress
from raykd.launch.trials.progress import cpus_in_use
from raykd.launch.trials.queue import Queue
from raykd.runs.results.read import read_result
from raykd.storage.folder import Folder
from raykd.terminal import Terminal


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
        if what == "starts" and name in self._runs:
            self.record.note(self._runs[name].path, "running")
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
        return matrix(list(self._runs.values()), self._states(), title, size.width, size.height)

    def _states(self) -> Mapping[str, RunState]:
        states = {}
        for name, run in self._runs.items():
            state = self.queue.states.get(name)
            if name in self.finished:
                states[name] = RunState("finished", self.finished[name])
            elif state is None:
                states[name] = RunState("waiting")
            else:
                states[name] = RunState(state.status, state.top1, state.epoch / run.cell.recipe.epochs)
        return states


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
