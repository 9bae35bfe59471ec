"""What rank 0 leaves of a run: metric lines, checkpoints, W&B, the student, the result."""

import contextlib
import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from raykd.launch.cluster.signals import StopRequested
from raykd.models.staged import parameters
from raykd.runs import directory as rundir
from raykd.runs.checkpoint import Stamp, Writer
from raykd.runs.student import FILE, write_student
from raykd.storage.local_copy import Mirror, of_results, of_tracking
from raykd.storage.retry import PATIENCE, patiently
from raykd.train.loop import Epoch, Event, Progress, Save

if TYPE_CHECKING:
    from raykd.launch.worker.worker import Worker


class Record:
    """Called with every event of the loop."""

    def __init__(self, worker: "Worker", attempt: str, resumed: Stamp | None):
        """attempt: the token of `rundir.claim`; a later attempt's start ends this one's writing."""
        self.worker, self.run, self.attempt = worker, worker.folder, attempt
        step = resumed.step if resumed else 0
        self.journal = rundir.Journal(self.run, step)
        patiently(self.journal.flush, "writing metrics.jsonl", worker.notice)
        self.restarts = len(rundir.attempts_of(self.run)) - 1
        keep, fingerprint = worker.recipe.checkpoint.keep, worker.job["fingerprint"]
        self.writer = Writer(self.run, keep, fingerprint, worker.notice, self._before_writing, self._saved)
        self.every_steps, self.every_seconds = worker.recipe.checkpoint.interval
        self.saved_step, self.saved_at = step, time.monotonic()
        self.stopping = False
        self.mirror = Mirror(self.run)
        self.tracked = self._track(step)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return self.journal.lines

    def _before_writing(self) -> None:
        """No checkpoint without the metric lines before it, and none by a worker that has been replaced."""
        rundir.expect_mine(self.run, self.attempt)
        self.journal.flush()

    def _saved(self, step: int) -> None:
        self.worker.tell(saved=step)
        self.mirror.keep(of_tracking)

    def _track(self, step: int) -> Any:
        """The W&B run, with what is known before the first step."""
        from raykd.track.run import start

        worker, job = self.worker, self.worker.job
        recipe = job["recipe"] | {"overrides": job.get("overrides", {})}
        recipe["wandb"] = recipe["wandb"] | {"group": job.get("group") or recipe["wandb"]["group"]}
        self.mirror.bring(of_tracking)
        role = job.get("job_type", "student")
        tracked = start(
            recipe, name=job["name"], directory=self.mirror.path, job_type=role, resume_step=step, say=worker.notice
        )
        for teacher in worker.teachers:
            tracked.use_teacher(teacher.path)
        tracked.summary({"teachers": {name: figures.line() for name, figures in worker.teacher_figures.items()}})
        worker.tell(wandb_url=tracked.url)
        self.mirror.keep(of_tracking)
        return tracked

    def save_due(self, step: int) -> bool:
        """Whether the loop should yield Save after this step."""
        messenger, asked = self.worker.messenger, False
        if messenger is not None:
            self.stopping, asked = messenger.stop_wanted.is_set(), messenger.save_wanted.is_set()
            messenger.save_wanted.clear()
        by_steps = self.every_steps and step - self.saved_step >= self.every_steps
        by_time = self.every_seconds and time.monotonic() - self.saved_at >= self.every_seconds
        return bool(self.stopping or asked or by_steps or by_time)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progress):
            self.worker.tell(step=event.step, steps=event.steps, epoch=event.epoch, values=event.values)
            self.tracked.log(event.step, {"epoch": event.epoch, "step": event.values}, thin=True)
        elif isinstance(event, Epoch):
            self._line(event)
            self._save(event.step, event.epoch, self.top1(event.line)[0] if "evaluation" in event.line else None)
        elif isinstance(event, Save):
            self._save(event.step, event.epoch, None)
        if self.stopping:
            self.close("stopped", seconds=30)
            self.worker.tell(stopped=event.step)
            raise StopRequested(event.step)

    def top1(self, *lines: dict[str, Any]) -> list[float]:
        """The deployed network's accuracy in those of the lines that hold an evaluation."""
        return [line["evaluation"][self.worker.deployed]["top1"] for line in lines if "evaluation" in line]

    def _line(self, event: Epoch) -> None:
        self.journal.add(event.line)
        if "evaluation" in event.line:
            best = max(self.top1(*self.lines))
            deployed = self.worker.deployed
            self.worker.tell(step=event.step, epoch=event.epoch, line=event.line, deployed=deployed, best=best)
        self.tracked.log(event.step, event.line)

    def _save(self, step: int, epoch: float, top1: float | None) -> None:
        self.writer.save(self.worker.state.snapshot(), step, epoch, top1)
        self.saved_step, self.saved_at = step, time.monotonic()

    def close(self, status: str, seconds: float = PATIENCE) -> None:
        """Wait for the checkpoint that is being written, and end the W&B run."""
        self.writer.wait(seconds)
        self._untrack(status)

    def _untrack(self, status: str) -> None:
        """End the W&B run, which takes the run's files along; what the server did not get stays in the storage."""
        patiently(lambda: self.mirror.bring(of_results), "reading the run's files", self.worker.notice)
        self.tracked.finish(status)
        patiently(lambda: self.mirror.keep(of_tracking), "keeping W&B's files", self.worker.notice)

    def fail(self) -> None:
        """Keep what there is of a run that ends with an error."""
        with contextlib.suppress(OSError, rundir.Superseded):
            self.writer.wait(30)
        with contextlib.suppress(OSError):
            self._untrack("failed")

    def finish(self) -> None:
        """Write the student, the evaluation and the result, which says that the run is finished and so comes last."""
        self.writer.wait()
        worker = self.worker
        network = worker.state.evaluated.networks()[worker.deployed]
        evaluation = self.evaluation(network)
        result = self.result("finished", network)
        patiently(lambda: self._leave(network, evaluation), "writing the student", worker.notice)
        self.tracked.summary({**result, "flops": evaluation["flops"], "gpu_hours": self.gpu_hours(result)})
        self.mirror.bring(lambda name: name in (FILE, "recipe.json"))
        self.tracked.artifact(self.mirror.path / FILE, {"top1": result["top1"], "parameters": result["parameters"]})
        patiently(
            lambda: self.run.write("result.json", json.dumps(result, indent=1)), "writing the result", worker.notice
        )
        self._untrack("finished")
        worker.tell(phase="finished")

    def _leave(self, network: Any, evaluation: dict[str, Any]) -> None:
        rundir.expect_mine(self.run, self.attempt)
        write_student(self.run, network, self.worker.recipe, self.worker.prepared.classes)
        self.run.write("evaluation.json", json.dumps(evaluation))

    def gpu_hours(self, result: dict[str, Any]) -> float:
        return result["seconds"] / 3600 * self.worker.world * self.worker.recipe.gpus_per_worker

    def evaluation(self, network: Any) -> dict[str, Any]:
        """The last evaluation in full."""
        worker = self.worker
        return {
            "split": "validation" if worker.recipe.data.validation else "test",
            "class_names": list(worker.prepared.classes),
            "networks": {name: asdict(figures) for name, figures in worker.figures.items()},
            "teachers": {
                teacher.name: asdict(worker.teacher_figures[teacher.name])
                | {"parameters": teacher.parameters, "path": teacher.path, "form": str(teacher.form)}
                for teacher in worker.teachers
                if teacher.name in worker.teacher_figures
            },
            "ensemble": worker.ensemble,
            "flops": flops(network, worker.recipe.data.image_size, worker.device),
        }

    def result(self, status: str, network: Any) -> dict[str, Any]:
        """result.json: last epoch's figures of the deployed network, and its best epoch's top-1 beside them."""
        worker, last = self.worker, self.worker.figures[self.worker.deployed]
        seconds = sum(line["seconds"] for line in self.lines)
        steps = [line["step"] for line in self.lines]
        images = [(step - before) * self.worker.recipe.batch_size for before, step in zip([0, *steps], steps)]
        stepping = sum(count / line["images_per_second"] for count, line in zip(images, self.lines))
        return {
            "name": worker.job["name"],
            "method": type(worker.recipe.method).__qualname__.split(".")[0],
            "status": status,
            "epochs": worker.recipe.epochs,
            "seed": worker.recipe.seed,
            "workers": worker.world,
            "restarts": self.restarts,
            "top1": last.top1,
            "top1_best": max(self.top1(*self.lines), default=last.top1),
            "top5": last.top5,
            "loss": last.loss,
            "networks": {name: {"top1": f.top1, "top5": f.top5} for name, f in worker.figures.items()},
            "seconds": seconds,
            "images_per_second": sum(images) / stepping if stepping else 0.0,
            "parameters": parameters(network),
            "git": worker.job["git"],
            "wandb_url": self.tracked.url,
        }


def flops(network: Any, image_size: int, device: Any) -> int:
    """Multiply-adds of the forward pass of one image, counted by torch."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, 3, image_size, image_size, device=device))
    return counter.get_total_flops() // 2
