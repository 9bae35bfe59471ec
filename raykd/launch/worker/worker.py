"""One worker of a run, from its recipe to its result."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from raykd.contract import Distiller, Placement
from raykd.launch.cluster.signals import StopRequested
from raykd.launch.job_spec import JobSpec
from raykd.launch.run_state.client import Client
from raykd.launch.worker.precision_choice import choose_precision
from raykd.launch.worker.recorder import Recorder
from raykd.launch.worker.remote_teachers import RemoteTeachers
from raykd.launch.worker.result import Attempt
from raykd.launch.worker.run_files import RunFiles
from raykd.recipe import Recipe
from raykd.recipe.length import initial_steps
from raykd.runs.checkpoints.stamps import Stamp
from raykd.storage.folder import Folder
from raykd.teachers.cache.attach import attach_cache
from raykd.teachers.cache.write_behind import WriteBehind
from raykd.training.evaluation.evaluate import evaluate
from raykd.training.evaluation.measure_teachers import measure_teachers
from raykd.training.loop import Epoch, fit
from raykd.training.setup import Experiment


class Worker:
    """One worker's share of a run; rank 0 also writes all of the run's files."""

    def __init__(
        self,
        job: JobSpec,
        recipe: Recipe,
        placement: Placement,
        report: Callable[[dict[str, Any]], None],
        client: Client,
    ):
        self.job, self.recipe, self.placement, self.report, self.client = job, recipe, placement, report, client
        self.notices: list[str] = []
        self.remote: Any = None
        self.files = RunFiles(Folder(job.run), placement, self.notice)
        self.files.expect_visible(client)
        client.update(phase="preparing data and networks")
        self.experiment = Experiment(recipe, placement, job.trained, client.copying, self._expect_no_stop)
        self.data = self.experiment.train_data
        self.recipe = recipe = self.experiment.recipe
        self._tell_what_was_opened()
        self.writer = WriteBehind(client.note)
        features = self.experiment.distiller.teacher_features
        self.teachers = attach_cache(self.experiment.teachers, recipe, features, self.data, self.writer, self.notice)
        if recipe.teachers.placement == "remote" and self.teachers:
            self._start_remote_teachers()
        self.state = self.experiment.new_state()
        self.evaluation: Any = None

    def close(self) -> None:
        """End the remote teachers, and flush the teacher cache."""
        if self.remote is not None:
            self.remote.close()
        self.writer.close()

    def _tell_what_was_opened(self) -> None:
        """Show the user remarks on the data, the teachers, the method and the student's initial weights."""
        opened, recipe = self.experiment, self.recipe
        for line in opened.prepared.notes[:5]:
            self.notice(line)
        for teacher in opened.teachers:
            for remark in teacher.remarks:
                self.notice(f"teacher {teacher.name}: {remark}")
        if recipe.accumulate > 1 and recipe.method.compares_images:
            self.notice(
                f"warning: {recipe.method.name} compares the images of a batch: with accumulate {recipe.accumulate}, "
                f"only the {recipe.batch_size // recipe.accumulate} of each part"
            )
        if opened.student_weights:
            self.notice(f"student: from {recipe.student.weights} it uses {opened.student_weights}")

    def notice(self, line: str) -> None:
        """Show the user one line, besides the progress; rank 0 only."""
        self.notices.append(line)
        self.client.update(notices=tuple(self.notices))

    def run(self) -> None:
        """Train to the end; rank 0 records the events."""
        first = self.placement.rank == 0
        attempt = self.files.claim(self.experiment.prepared) if first else ""
        stamp = self.files.restore(self.state)
        self._choose_precision()
        if self.teachers:
            self.client.update(phase="measuring teachers")
        self.measured = measure_teachers(self.experiment, self.teachers)
        for line in self.measured.lines(len(self.experiment.prepared.classes), bool(self.recipe.data.validation)):
            self.notice(line)
        self._wait_for_remote_teachers()
        self.client.update(phase="first step")
        recorder = self._recorder(attempt, stamp) if first else None
        try:
            self._train(recorder)
        except StopRequested:
            raise
        except Exception:
            if recorder is not None:
                recorder.fail()
            raise

    def evaluate(self, distiller: Distiller) -> dict[str, Any]:
        """Metrics of all networks over all workers, in the format of a line of metrics.jsonl."""
        distiller.eval()
        self.client.update(phase="evaluating")
        batches, context = self.experiment.test_data.batches(), self.experiment.autocast
        logits, own = self.measured.logits, self.recipe.metrics
        figures, measures = evaluate(distiller.predict, batches, context, logits, distiller.measure, own)
        distiller.train()
        self.client.update(phase="training")
        self.evaluation = figures
        return {"evaluation": {name: network.line() for name, network in figures.items()}, "measures": measures}

    def _train(self, recorder: Recorder | None) -> None:
        due = recorder.save_due if recorder is not None else lambda step: False
        data = self.data
        for event in fit(self.recipe, self.state, self.teachers, data, self.evaluate, self.placement, due, self.remote):
            if recorder is not None:
                recorder(event)
            if isinstance(event, Epoch) and "evaluation" in event.line:
                deployed = next(iter(event.line["evaluation"].values()))
                self.report(
                    {"epoch": event.epoch, "step": event.step - initial_steps(self.recipe, data.size), **deployed}
                )
        if self.evaluation is None:  # resumed after the last evaluation, before the result
            self.evaluate(self.state.evaluated)
        if recorder is not None:
            recorder.finish(self.state.evaluated, self.evaluation)

    def _expect_no_stop(self, split: str, total: int, size: int) -> None:
        """Raise StopRequested if the driver has requested a stop before the first step."""
        if self.client.stop_wanted.is_set():
            raise StopRequested(0)

    def _choose_precision(self) -> None:
        """Set the teachers' precision to the best one on this device, if the recipe leaves the choice open."""
        if self.recipe.teachers.form != "auto" or not self.teachers:
            return

        self.client.update(phase="measuring teacher precisions")
        run, distiller = self.files.folder, self.state.distiller
        chosen = choose_precision(run, self.recipe, distiller, self.teachers, self.data, self.placement, self.notice)
        self.teachers = [replace(teacher, precision=chosen) for teacher in self.teachers]

    def _start_remote_teachers(self) -> None:
        """Start this worker's actors, which begin loading at once."""
        features, steps = self.experiment.distiller.teacher_features, self.experiment.steps
        self.remote = RemoteTeachers(self.job, self.recipe, self.placement, features, steps, self.client.note)

    def _wait_for_remote_teachers(self) -> None:
        """Wait for the remote teachers; in this process they have only run the evaluation pass.

        Only their heads, which a method may use to classify, stay on the student's device.
        """
        if self.remote is None:
            return
        for teacher in self.teachers:
            teacher.network.to("cpu")
            for module in teacher.network.tail_modules.values():
                module.to(self.placement.device)
        self.client.update(phase="waiting for remote teachers")
        self.remote.gather()
        self.client.update(phase="training")

    def _recorder(self, attempt: str, stamp: Stamp | None) -> Recorder:
        figures, at = self.measured.figures, self.placement
        teachers = [(teacher, figures[teacher.name]) for teacher in self.teachers if teacher.name in figures]
        about = Attempt(
            token=attempt,
            step=stamp.step if stamp else 0,
            world=at.world,
            device=at.device,
            classes=self.experiment.prepared.classes,
            teachers=teachers,
            ensemble=self.measured.ensemble,
        )
        return Recorder(self.job, self.recipe, about, self.state.snapshot, self.client, self.notice)
