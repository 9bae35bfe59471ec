"""What rank 0 leaves of a run: metric lines, checkpoints, W&B, the student, the result."""

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from raykd.launch import rundir
from raykd.launch.stop import StopRequested
from raykd.train.checkpoint import Stamp, Writer
from raykd.train.loop import Epoch, Event, Progress, Save
from raykd.train.student import write_student

if TYPE_CHECKING:
    from raykd.launch.worker import Worker


def interval(text: str) -> tuple[int, float]:
    """Steps and seconds of a checkpoint.every such as "500 steps" or "10 minutes"; 0 where it is not counted so."""
    number, _, unit = text.partition(" ")
    if text == "never":
        return 0, 0.0
    return (int(number), 0.0) if unit.startswith("step") else (0, 60.0 * float(number))


class Record:
    """Called with every event of the loop."""

    def __init__(self, worker: "Worker", resumed: Stamp | None):
        self.worker, self.run = worker, worker.folder
        step = resumed.step if resumed else 0
        self.lines = rundir.forget_after(self.run, step)
        self.restarts = rundir.start_attempt(self.run, worker.world, step)
        self.writer = Writer(self.run, worker.recipe.checkpoint.keep, worker.job["fingerprint"])
        self.every_steps, self.every_seconds = interval(worker.recipe.checkpoint.every)
        self.saved_step, self.saved_at = step, time.monotonic()
        self.stopping = False

    def save_due(self, step: int) -> bool:
        """Whether the loop should yield Save after this step."""
        messenger = self.worker.messenger
        self.stopping = messenger is not None and messenger.stop_wanted.is_set()
        by_steps = self.every_steps and step - self.saved_step >= self.every_steps
        by_time = self.every_seconds and time.monotonic() - self.saved_at >= self.every_seconds
        return bool(self.stopping or by_steps or by_time)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progress):
            self.worker.tell(step=event.step, steps=event.steps, epoch=event.epoch, values=event.values)
        elif isinstance(event, Epoch):
            self._line(event)
            self._save(event.step, event.epoch, event.line["evaluation"][self.worker.deployed]["top1"])
        elif isinstance(event, Save):
            self._save(event.step, event.epoch, None)
        if self.stopping:
            self.writer.wait()
            self.worker.tell(stopped=event.step)
            raise StopRequested(event.step)

    def _line(self, event: Epoch) -> None:
        self.lines.append(event.line)
        self.run.append("metrics.jsonl", json.dumps(event.line))
        best = max(line["evaluation"][self.worker.deployed]["top1"] for line in self.lines)
        self.worker.tell(step=event.step, epoch=event.epoch, line=event.line, deployed=self.worker.deployed, best=best)

    def _save(self, step: int, epoch: float, top1: float | None) -> None:
        self.writer.save(self.worker.state.snapshot(), step, epoch, top1)
        self.saved_step, self.saved_at = step, time.monotonic()

    def finish(self) -> None:
        """Write the student, the evaluation and the result, which says that the run is finished and so comes last."""
        self.writer.wait()
        worker = self.worker
        if not worker.figures:  # resumed after the last evaluation, before the result
            worker.evaluate(worker.state.evaluated)
        network = worker.state.evaluated.networks()[worker.deployed]
        write_student(self.run, network, worker.recipe, worker.prepared.classes)
        self.run.write("evaluation.json", json.dumps(self.evaluation()))
        self.run.write("result.json", json.dumps(self.result("finished", network), indent=1))
        worker.tell(phase="finished")

    def evaluation(self) -> dict[str, Any]:
        """The last evaluation in full."""
        worker = self.worker
        return {
            "split": "validation" if worker.recipe.data.validation else "test",
            "class_names": list(worker.prepared.classes),
            "networks": {name: asdict(figures) for name, figures in worker.figures.items()},
            "teachers": {
                teacher.name: asdict(worker.teacher_figures[teacher.name])
                | {"parameters": sum(p.numel() for p in teacher.network.parameters()), "path": teacher.path}
                for teacher in worker.teachers
            },
        }

    def result(self, status: str, network: Any) -> dict[str, Any]:
        """result.json: last epoch's figures of the deployed network, and its best epoch's top-1 beside them."""
        worker, last = self.worker, self.worker.figures[self.worker.deployed]
        seconds = sum(line["seconds"] for line in self.lines)
        images = sum(line["seconds"] * line["images_per_second"] for line in self.lines)
        return {
            "name": worker.job["name"],
            "method": type(worker.recipe.method).__qualname__.split(".")[0],
            "status": status,
            "epochs": worker.recipe.epochs,
            "seed": worker.recipe.seed,
            "workers": worker.world,
            "restarts": self.restarts,
            "top1": last.top1,
            "top1_best": max(line["evaluation"][worker.deployed]["top1"] for line in self.lines),
            "top5": last.top5,
            "loss": last.loss,
            "networks": {name: {"top1": f.top1, "top5": f.top5} for name, f in worker.figures.items()},
            "seconds": seconds,
            "images_per_second": images / seconds,
            "parameters": sum(p.numel() for p in network.parameters()),
            "git": worker.job["git"],
            "wandb_url": "",
        }
