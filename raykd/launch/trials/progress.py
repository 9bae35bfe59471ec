"""What a person sees of trials side by side: a live table in a terminal, plain lines in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.tune import Callback
from rich.live import Live
from rich.table import Table

from raykd.launch.search.trial_table import Standing, Trial
from raykd.runs import directory
from raykd.storage.folder import Folder
from raykd.terminal import Terminal

ROWS = 24
ENDED = {"finished": "green", "stopped": "dim", "failed": "red"}


class Watch(Callback):
    """Tune tells it of every trial's progress; the trials' ends are written down here."""

    def __init__(self, standing: Standing, console: Terminal, total: int, errors: Callable[[Any], str]):
        self.standing, self.console, self.total, self._errors = standing, console, total, errors
        self._began = time.monotonic()

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        pick = {key: value for key, value in trial.config.items() if key != "id"}
        self.standing.begin(str(trial), pick, "running")
        self._say(f"trial {trial} starts: {self._values(str(trial))}")

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict[str, Any], **info: Any) -> None:
        with self.standing.lock:
            known = self.standing.trials[str(trial)]
            known.epoch, known.metric = result["epoch"], result[self.standing.search.metric]

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._ended(self.standing.end(str(trial), "stopped"))

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._ended(self.standing.end(str(trial), "failed", self._errors(trial)))

    def _ended(self, trial: Trial) -> None:
        metric = "" if trial.metric is None else f", {self.standing.search.metric} {trial.metric:.4f}"
        reason = f": {trial.reason}" if trial.reason else ""
        epoch = f" at epoch {trial.epoch:g}" if trial.state != "finished" else ""
        self._say(f"trial {trial.name} {trial.state}{epoch}{metric}{reason}")

    def _say(self, line: str) -> None:
        if not self.console.is_terminal:
            self.console.print(f"  {time.monotonic() - self._began:5.0f} s  {line}")

    def _values(self, name: str) -> str:
        found = self.standing.values(name)
        return "  ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in found.items()
        )

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While inside, a terminal shows the live table."""
        if not self.console.is_terminal:
            yield
            return
        with Live(get_renderable=self.table, console=self.console, refresh_per_second=2):
            yield

    def table(self) -> Table:
        """The running trials first, then the newest of the others."""
        with self.standing.lock:
            trials = [Trial(**vars(trial)) for trial in self.standing.trials.values()]
        counts = "  ".join(f"{count} {state}" for state, count in self.standing.counts().items())
        metric = self.standing.search.metric
        title = f"{counts}  of {self.total}   {_cpus()}   {time.monotonic() - self._began:.0f} s"
        table = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
        for name in ("trial", "state", "epoch", metric, "values"):
            table.add_column(name, justify="right" if name in ("epoch", metric) else "left", overflow="ellipsis")
        trials.sort(key=lambda trial: (trial.state != "running", -int(trial.name) if trial.name.isdigit() else 0))
        for trial in trials[:ROWS]:
            style = ENDED.get(trial.state, "")
            value = "" if trial.metric is None else f"{trial.metric:.4f}"
            table.add_row(trial.name, trial.state, f"{trial.epoch:g}", value, self._values(trial.name), style=style)
        return table

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _cpus() -> str:
    have, free = ray.cluster_resources(), ray.available_resources()
    shown = [name for name in ("CPU", "GPU") if have.get(name)]
    return "  ".join(f"{have[name] - free.get(name, 0):g}/{have[name]:g} {name}s in use" for name in shown)


def error_of(trial: Any) -> str:
    """Why Tune gave a trial up, in one line; Tune keeps the text in a file."""
    text = Path(trial.local_path, "error.txt")
    lines = (
        [line.strip() for line in text.read_text(encoding="utf-8").splitlines() if line.strip()]
        if text.is_file()
        else []
    )
    died = [line for line in lines if "The actor is dead because" in line]
    return (died or lines or ["its process was lost"])[-1]


class Teachers(Callback):
    """The same for teachers of an ensemble: a line for each start and end, a live table of those in between."""

    def __init__(self, runs: dict[str, Folder], console: Terminal):
        self.runs, self.console = runs, console
        self.errors: dict[str, str] = {}
        self._states = {name: ("waiting", 0.0, None) for name in runs}
        self._began = time.monotonic()

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._note(str(trial), "training")

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict[str, Any], **info: Any) -> None:
        self._states[str(trial)] = ("training", result["epoch"], result["top1"])

    def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._note(str(trial), f"failed ({error_of(trial)}), tried again")

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        run = self.runs[str(trial)]
        if directory.result_of(run) is not None:
            self._note(str(trial), "finished")
        elif run.exists("outcome.json"):
            self._failed(str(trial), run.read_json("outcome.json")["reason"])

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._failed(str(trial), error_of(trial))

    def _failed(self, name: str, reason: str) -> None:
        self.errors[name] = reason
        self._note(name, f"failed: {reason}")

    def _note(self, name: str, state: str) -> None:
        _, epoch, top1 = self._states[name]
        self._states[name] = (state, epoch, top1)
        if not self.console.is_terminal:
            shown = f", top-1 {100 * top1:.2f} %" if state == "finished" and top1 is not None else ""
            seconds = time.monotonic() - self._began
            self.console.print(f"  {seconds:5.0f} s  {name} {state}{shown}")

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While inside, a terminal shows the live table; it stays when it is done."""
        if not self.console.is_terminal:
            yield
            return
        with Live(get_renderable=self.table, console=self.console, refresh_per_second=2):
            yield

    def table(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold", title=_cpus(), title_justify="left")
        for name in ("teacher", "state", "epoch", "top-1"):
            table.add_column(name)
        for name, (state, epoch, top1) in self._states.items():
            table.add_row(name, state, f"{epoch:g}", "" if top1 is None else f"{100 * top1:.2f} %")
        return table

    def __getstate__(self) -> dict[str, Any]:
        return {}
