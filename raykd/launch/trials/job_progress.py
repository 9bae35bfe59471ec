"""Follows jobs through Tune's callbacks: their states, and a line for each start and end."""

import time
from typing import Any

from raykd.launch.cluster import placement_groups
from raykd.launch.trials.progress import LiveTable, error_of
from raykd.launch.trials.queue import Queue
from raykd.launch.trials.teacher_leases import TeacherLeases
from raykd.launch.trials.trial import OUTCOME
from raykd.output import masked
from raykd.runs.results.read import read_result
from raykd.storage.folder import Folder
from raykd.terminal import Terminal


class JobsProgress(LiveTable):
    """A Tune callback: a terminal shows the `table` of a subclass, a log gets one line for each start and end."""

    def __init__(self, queue: Queue, storage: str, console: Terminal):
        super().__init__(console)
        self.queue, self.storage = queue, storage

    def share_teachers(self, leases: TeacherLeases) -> None:
        """Begin with the teachers whose names are held here, and name those that other drivers train."""
        self._leases = leases
        for name in self.queue.teachers:
            self.queue.states[name].status = "elsewhere"
        self._settle_teachers()
        for name in self.queue.elsewhere:
            self.console.print(f"{name} is being trained by another process: waiting for it, other jobs continue")

    def settle(self) -> None:
        """Bring the queue up to date with other drivers' teachers and with Ray's placement of workers."""
        self._settle_teachers()
        several = [name for name in self.queue.running if self.queue.jobs[name].recipe.workers != 1]
        groups = sum(len(group.bundles) > 1 for group in placement_groups.placed()) if several else 0
        for number, name in enumerate(several):  # which of them have their workers isn't known, only how many
            self.queue.states[name].placed = number < groups

    def _settle_teachers(self) -> None:
        """A teacher whose name was just taken was trained by another driver, or is to be trained here."""
        for name in self._leases.taken():
            result = read_result(Folder(self.storage) / name)
            if result is None or result.status != "finished":
                self.queue.states[name].status = "waiting"
                continue
            self.queue.finish(name)
            self._leases.release(name)
            self.log(name, f"was trained by another process, top-1 {100 * result.top1:.2f} %")

    def on_step_end(self, iteration: int, trials: list, **info: Any) -> None:
        self.settle()

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        state = self.queue.states[str(trial)]
        state.began = time.monotonic()
        state.placed = self.queue.jobs[str(trial)].recipe.workers == 1
        self.started(str(trial))
        self.log(str(trial), "starts")

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict[str, Any], **info: Any) -> None:
        state = self.queue.states[str(trial)]
        state.epoch, state.step, state.top1 = result["epoch"], result["step"], result["top1"]

    def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self.queue.states[str(trial)].placed = False
        self.log(str(trial), f"was lost ({error_of(trial)}) and starts again")

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        name = str(trial)
        run = Folder(self.storage) / name
        result = read_result(run)
        if result is not None:
            self.queue.finish(name)
            self._leases.release(name)
            self.ended([name])
            self.log(name, f"finished, top-1 {100 * result.top1:.2f} %")
        else:
            self._failed(name, run.read_json(OUTCOME)["reason"] if run.exists(OUTCOME) else "it was stopped")

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._failed(str(trial), masked(error_of(trial)))

    def _failed(self, name: str, reason: str) -> None:
        names = self.queue.fail(name, reason)
        for each in names:
            self._leases.release(each)
        self.ended(names)
        for each in names:
            self.log(each, f"failed: {self.queue.states[each].reason}")

    def started(self, name: str) -> None:
        """Called when a job has started."""

    def ended(self, names: list[str]) -> None:
        """Called when jobs have ended; their states say how."""

    def log(self, name: str, what: str) -> None:
        """Print a line on a job to a log."""
        self.print_to_log(f"{name} {what}")
