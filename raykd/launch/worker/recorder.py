"""Writes the files of a run on rank 0: metrics, checkpoints, W&B, the student, the result."""

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from raykd.contract import Distiller
from raykd.launch.cluster.signals import StopRequested
from raykd.launch.job_spec import JobSpec
from raykd.launch.run_state.client import Client
from raykd.launch.worker.result import Attempt, evaluation_of, result_of
from raykd.output import without_credentials
from raykd.recipe import Recipe
from raykd.runs import attempts, metrics_log
from raykd.runs.checkpoints.writer import Writer
from raykd.runs.student import write_student
from raykd.storage.folder import Folder
from raykd.storage.local_copy import STUDENT, LocalCopy, of_results, of_tracking
from raykd.storage.retry import PATIENCE, patiently
from raykd.training.evaluation.evaluate import Figures
from raykd.training.loop import Epoch, Event, Progress, Save


class Recorder:
    """Records every event of the training loop."""

    def __init__(
        self,
        job: JobSpec,
        recipe: Recipe,
        attempt: Attempt,
        snapshot: Callable[[], dict[str, Any]],
        client: Client,
        notify: Callable[[str], None],
    ):
        """snapshot: returns the state for a checkpoint. notify: shows the user a line."""
        self.job, self.recipe, self.attempt = job, recipe, attempt
        self._snapshot, self.client, self.notify, self.run = snapshot, client, notify, Folder(job.run)
        self.metrics = metrics_log.MetricsLog(self.run, attempt.step)
        patiently(self.metrics.flush, "writing metrics.jsonl", notify)
        keep, step = recipe.checkpoint.keep, attempt.step
        self.writer = Writer(self.run, keep, job.fingerprint, notify, self._before_writing, self._saved)
        self.every_steps, self.every_seconds = recipe.checkpoint.interval
        self.saved_step, self.saved_at = step, time.monotonic()
        self.stopping = False
        self.local = LocalCopy(self.run)
        self.tracked = self._track()

    def save_due(self, step: int) -> bool:
        """Whether the loop should yield Save after this step."""
        self.stopping, requested = self.client.stop_wanted.is_set(), self.client.save_wanted.is_set()
        self.client.save_wanted.clear()
        by_steps = self.every_steps and step - self.saved_step >= self.every_steps
        by_time = self.every_seconds and time.monotonic() - self.saved_at >= self.every_seconds
        return bool(self.stopping or requested or by_steps or by_time)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progress):
            self.client.update(step=event.step, steps=event.steps, epoch=event.epoch, values=event.values)
            self.tracked.log(event.step, {"epoch": event.epoch, "step": event.values}, thin=True)
        elif isinstance(event, Epoch):
            self.metrics.add(event.line)
            self.client.update(step=event.step, epoch=event.epoch)
            if "evaluation" in event.line:  # not in the initialise phase
                self.client.update(line=event.line)
            self.tracked.log(event.step, event.line)
            self._save(event.step, event.epoch, event.line.get("selection"))
        elif isinstance(event, Save):
            self._save(event.step, event.epoch, None)
        if self.stopping:
            self.writer.wait(30)
            self._untrack("stopped")
            self.client.update(stopped=event.step)
            raise StopRequested(event.step)

    def fail(self) -> None:
        """Save what exists of a run that ends with an error."""
        with contextlib.suppress(OSError, attempts.Superseded):
            self.writer.wait(30)
        with contextlib.suppress(OSError):
            self._untrack("failed")

    def finish(self, distiller: Distiller, figures: Mapping[str, Figures]) -> None:
        """Write the student, the evaluation and, last, the result, which marks the run as finished."""
        self.writer.wait(PATIENCE)
        network = distiller.networks()[next(iter(figures))]
        evaluation = evaluation_of(self.recipe, self.attempt, network, figures)
        about, lines = (self.job, self.recipe, self.attempt), self.metrics.lines
        restarts = len(attempts.attempts_of(self.run)) - 1
        result = result_of(*about, lines, network, figures, restarts=restarts, wandb_url=self.tracked.url)
        patiently(lambda: self._leave(network, evaluation), "writing the student", self.notify)
        hours = result["seconds"] / 3600 * self.attempt.world * self.recipe.gpus_per_worker
        self.tracked.summary({**result, "flops": evaluation["flops"], "gpu_hours": hours})
        self.local.download(lambda name: name in (STUDENT, "recipe.json"))
        self.tracked.artifact(self.local.path / STUDENT, {"top1": result["top1"], "parameters": result["parameters"]})
        text = json.dumps(without_credentials(result), indent=1)
        patiently(lambda: self.run.write("result.json", text), "writing the result", self.notify)
        self._untrack("finished")
        self.client.update(phase="finished")

    def _before_writing(self) -> None:
        """Flush the metrics before a checkpoint, and refuse to write one from a worker that has been replaced."""
        attempts.expect_mine(self.run, self.attempt.token)
        self.metrics.flush()

    def _saved(self, step: int) -> None:
        self.client.update(saved=step)
        self.local.upload(of_tracking)

    def _save(self, step: int, epoch: float, top1: float | None) -> None:
        self.writer.save(self._snapshot(), step, epoch, top1)
        self.saved_step, self.saved_at = step, time.monotonic()

    def _track(self) -> Any:
        """Start the W&B run, with what is known before the first step."""
        from raykd.track.run import start

        job = self.job
        recipe = without_credentials(job.recipe | {"overrides": job.overrides})
        recipe |= {"study": job.cell} if job.cell else {}
        recipe["wandb"] = recipe["wandb"] | {"group": job.group or recipe["wandb"]["group"]}
        self.local.download(of_tracking)
        tracked = start(
            recipe,
            name=job.name,
            directory=self.local.path,
            job_type=job.role,
            resume_step=self.attempt.step,
            notify=self.notify,
        )
        for teacher, _ in self.attempt.teachers:
            tracked.use_teacher(teacher.path)
        tracked.summary({"teachers": {teacher.name: measured.line() for teacher, measured in self.attempt.teachers}})
        self.client.update(wandb_url=tracked.url)
        self.local.upload(of_tracking)
        return tracked

    def _untrack(self, status: str) -> None:
        """End the W&B run, which uploads the run's files; what was not uploaded stays in storage."""
        patiently(lambda: self.local.download(of_results), "reading the run's files", self.notify)
        self.tracked.finish(status)
        patiently(lambda: self.local.upload(of_tracking), "saving W&B's files", self.notify)

    def _leave(self, network: Any, evaluation: dict[str, Any]) -> None:
        attempts.expect_mine(self.run, self.attempt.token)
        write_student(self.run, network, self.recipe, tuple(self.attempt.classes))
        self.run.write("evaluation.json", json.dumps(without_credentials(evaluation)))
