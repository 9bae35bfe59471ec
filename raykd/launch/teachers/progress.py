"""What a person sees of teachers that train side by side."""

import time
from typing import Any

from ray.tune import Callback
from rich.table import Table

from raykd.launch.trials.progress import LiveTable, cpus_in_use, error_of
from raykd.runs import directory
from raykd.storage.folder import Folder
from raykd.terminal import Terminal


class TeacherProgress(LiveTable, Callback):
    """A line for each teacher's start and end, a live table of those in between."""

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

    def table(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold", title=cpus_in_use(), title_justify="left")
        for name in ("teacher", "state", "epoch", "top-1"):
            table.add_column(name)
        for name, (state, epoch, top1) in self._states.items():
            table.add_row(name, state, f"{epoch:g}", "" if top1 is None else f"{100 * top1:.2f} %")
        return table
