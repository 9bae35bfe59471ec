"""The state of a search: its trials, read from their run directories, and the files that a report reads."""

import csv
import io
import json
import threading
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from raykd.launch.search.setup import Setup
from raykd.output import masked
from raykd.runs import metrics_log
from raykd.runs.results.read import read_result
from raykd.storage.folder import Folder

DONE = ("finished", "stopped", "failed")


def number(index: int) -> str:
    """The name of a trial."""
    return f"{index:04d}"


@dataclass
class Trial:
    """One trial; state: running, interrupted, finished, stopped (early, by the scheduler) or failed."""

    name: str
    pick: dict[str, Any]
    state: str
    metric: float | None = None
    epoch: float = 0.0
    seconds: float = 0.0
    reason: str = ""


@dataclass
class TrialTable:
    """All started trials of a search, by name."""

    folder: Folder
    setup: Setup
    trials: dict[str, Trial] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.RLock)

    def read(self) -> None:
        """Update the trials from their run directories."""
        for name in self.folder.names("trials"):
            if self.run(name).exists("trial.json"):
                self.trials[name] = self.look(name)

    def run(self, name: str) -> Folder:
        return self.folder / f"trials/{name}"

    def look(self, name: str) -> Trial:
        """A trial, read from its run directory."""
        run = self.run(name)
        trial = Trial(name, run.read_json("trial.json") if run.exists("trial.json") else {}, "interrupted")
        lines = [line for line in metrics_log.lines(run) if "evaluation" in line]
        if lines:
            figures = next(iter(lines[-1]["evaluation"].values()))
            trial.metric, trial.epoch = figures[self.setup.search.metric], lines[-1]["epoch"]
            trial.seconds = sum(line["seconds"] for line in lines)
        if read_result(run) is not None:
            trial.state = "finished"
        elif run.exists("outcome.json"):
            outcome = run.read_json("outcome.json")
            trial.state, trial.reason = outcome["state"], outcome["reason"]
        return trial

    def remaining(self) -> list[str]:
        """Names of the trials that are to be run: unfinished ones first."""
        unfinished = [name for name, trial in self.trials.items() if trial.state not in DONE]
        return unfinished + [name for name in map(number, range(self.setup.trials)) if name not in self.trials]

    def failed(self, name: str) -> bool:
        return self.look(name).state == "failed"

    def begin(self, name: str, pick: dict[str, Any]) -> None:
        """Record a trial that is running."""
        with self.lock:
            self.trials[name] = self.look(name)
            self.trials[name].pick, self.trials[name].state = pick, "running"

    def end(self, name: str, pick: dict[str, Any], state: str, reason: str = "") -> Trial:
        """Record a trial's end: its run directory's state if that has one, else `state`."""
        run = self.run(name)
        if read_result(run) is None and not run.exists("outcome.json"):
            run.write("outcome.json", json.dumps({"state": state, "reason": masked(reason)}))
        if not run.exists("trial.json"):  # the trial ended before its process could write its state
            run.write("trial.json", json.dumps(pick))
        with self.lock:
            self.trials[name] = self.look(name)
        self.write_table()
        return self.trials[name]

    def best(self) -> Trial | None:
        """The first trial of the best pick, with its mean: all repeats finished, best mean; ties go to the first."""
        search = self.setup.search
        finished: dict[int, list[tuple[Trial, float]]] = {}
        for name, trial in sorted(self.trials.items()):
            if trial.state == "finished" and trial.metric is not None:
                finished.setdefault(int(name) // search.repeats, []).append((trial, trial.metric))
        completed = [trials for trials in finished.values() if len(trials) == search.repeats]
        means = [(trials[0][0], fmean(metric for _, metric in trials)) for trials in completed]
        if not means:
            return None
        trial, mean = (max if search.mode == "max" else min)(means, key=lambda pair: pair[1])
        return replace(trial, metric=mean)

    def write_table(self) -> None:
        """Write trials.csv."""
        fields = sorted(self.setup.space.fields)
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["trial", "state", "metric", "seconds", "reason", *fields])
        for name, trial in sorted(self.trials.items()):
            chosen = self.setup.space.values(trial.pick)
            metric = "" if trial.metric is None else trial.metric
            row = [name, trial.state, metric, round(trial.seconds, 3), trial.reason]
            table.writerow([*row, *(chosen.get(name, "") for name in fields)])
        self.folder.write("trials.csv", text.getvalue())

    def counts(self) -> dict[str, int]:
        states = [trial.state for trial in self.trials.values()]
        return {state: states.count(state) for state in dict.fromkeys(states)}
