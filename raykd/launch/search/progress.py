"""Progress display of a search."""

import time
from typing import Any

from rich.table import Table

from raykd.launch.search.trial_table import Trial, TrialTable
from raykd.launch.trials.progress import LiveTable, cpus_in_use, error_of
from raykd.terminal import Terminal

ROWS = 24
ENDED = {"finished": "green", "stopped": "dim", "failed": "red"}


class SearchProgress(LiveTable):
    """A Tune callback that shows the trials' progress and records how they end."""

    def __init__(self, trials: TrialTable, console: Terminal):
        super().__init__(console)
        self.trials = trials

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self.trials.begin(str(trial), pick_of(trial))
        self.print_to_log(f"trial {trial} starts: {self._values(pick_of(trial))}")

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict[str, Any], **info: Any) -> None:
        with self.trials.lock:
            known = self.trials.trials[str(trial)]
            known.epoch, known.metric = result["epoch"], result[self.trials.setup.search.metric]

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._ended(self.trials.end(str(trial), pick_of(trial), "stopped"))

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._ended(self.trials.end(str(trial), pick_of(trial), "failed", error_of(trial)))

    def _ended(self, trial: Trial) -> None:
        metric = "" if trial.metric is None else f", {self.trials.setup.search.metric} {trial.metric:.4f}"
        reason = f": {trial.reason}" if trial.reason else ""
        epoch = f" at epoch {round(trial.epoch, 2):g}" if trial.state != "finished" else ""
        self.print_to_log(f"trial {trial.name} {trial.state}{epoch}{metric}{reason}")

    def _values(self, pick: dict[str, Any]) -> str:
        values = self.trials.setup.space.values(pick)
        return "  ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in values.items()
        )

    def table(self) -> Table:
        """The running trials first, then the newest of the others."""
        with self.trials.lock:
            trials = [Trial(**vars(trial)) for trial in self.trials.trials.values()]
        counts = "  ".join(f"{count} {state}" for state, count in self.trials.counts().items())
        setup = self.trials.setup
        title = f"{counts}  of {setup.trials}   {cpus_in_use()}   {time.monotonic() - self._began:.0f} s"
        table = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
        numbers = ("epoch", setup.search.metric)
        for name in ("trial", "state", *numbers, "values"):
            table.add_column(name, justify="right" if name in numbers else "left", no_wrap=name != "values")
        trials.sort(key=lambda trial: (trial.state != "running", -int(trial.name) if trial.name.isdigit() else 0))
        for trial in trials[:ROWS]:
            style = ENDED.get(trial.state, "")
            value = "" if trial.metric is None else f"{trial.metric:.4f}"
            epoch = f"{round(trial.epoch, 2):g}"
            table.add_row(trial.name, trial.state, epoch, value, self._values(trial.pick), style=style)
        return table


def pick_of(trial: Any) -> dict[str, Any]:
    """The values of a Tune trial, without its name."""
    return {key: value for key, value in trial.config.items() if key != "id"}
