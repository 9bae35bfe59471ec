"""What runs in each Ray worker (or, with `workers=0`, in the driver): one run from its recipe to its result."""

import os
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from raykd import UserError
from raykd.launch.cluster.signals import StopRequested
from raykd.storage.atomic import temporary_folder

Report = Callable[[dict[str, Any]], None]
NEAR_CHANCE = 0.05  # of the way from guessing to knowing all


def in_ray_worker(job: dict[str, Any]) -> None:
    """The train function of TorchTrainer: `work` with this worker's place in the group."""
    import ray.train
    import ray.train.torch

    from raykd.launch.cluster.run_state import Messenger

    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    messenger = Messenger(job["board"], rank)
    if rank == 0:
        take_key(ray.get(job["board"].key.remote()))
    try:
        work(job, rank, world, ray.train.torch.get_device(), ray.train.report, messenger)
    except StopRequested:
        # Raised on rank 0 alone: the others wait for it in a collective. An error here would make Ray restart the
        # group, so it waits for the driver, which ends the whole group now.
        threading.Event().wait(120)


def work(job: dict[str, Any], rank: int, world: int, device: Any, report: Report, messenger: Any) -> None:
    """Train the job's recipe from its newest checkpoint to its end.

    job: recipe (plain), sources, run (place), name, trained (teachers' run directories), git, fingerprint.
    report: told the metrics of every evaluation, on every rank. messenger: the worker's line to the driver, or None.
    """
    from raykd.launch.cluster.failure import fatal
    from raykd.recipe.load import materialize
    from raykd.recipe.serial import from_dict

    with ExitStack() as stack:
        if job["sources"]:
            folder = stack.enter_context(temporary_folder())
            materialize(job["sources"], Path(folder))
        recipe = from_dict(job["recipe"])
        use_cpus(recipe.cpus_per_worker)
        if messenger is not None:
            stack.callback(messenger.close)
        try:
            with closing(Worker(job, recipe, rank, world, device, report, messenger)) as worker:
                worker.run()
        except Exception as error:
            found = fatal(error, recipe, rank, world)
            if found is not None and messenger is not None:
                messenger.fail(*found)
            raise


def take_key(key: str) -> None:
    """Let W&B find the driver's key here, if it has one."""
    if key:
        os.environ["WANDB_API_KEY"] = key


def use_cpus(cpus: int) -> None:
    """As many threads as the worker owns CPUs, so that workers on one machine don't fight; its memory stays with it."""
    import torch

    from raykd.train import process

    torch.set_num_threads(max(1, cpus))
    process.keep()


def said_of_teacher(name: str, top1: float, classes: int, validation: float) -> str:
    """A teacher's accuracy in one line, with a warning where it is hardly above that of guessing."""
    line = f"teacher {name}: top-1 {100 * top1:.2f} % on the {'validation' if validation else 'test'} split"
    if top1 > 1 / classes + NEAR_CHANCE * (1 - 1 / classes):
        return line
    return f"warning: {line}, near the {100 / classes:.2f} % of chance: are its classes and images the right ones?"


class Worker:
    """One worker's share of a run; rank 0 also writes everything that the run leaves."""

    def __init__(self, job: dict, recipe: Any, rank: int, world: int, device: Any, report: Report, messenger: Any):
        from raykd.data.loader import TestLoader, TrainLoader
        from raykd.data.staging import stage
        from raykd.data.storage.prepare import normalised, prepare
        from raykd.storage.folder import Folder
        from raykd.teachers.load import load_teachers
        from raykd.teachers.logit_cache import keep
        from raykd.teachers.precision import autocast
        from raykd.train.setup import build_distiller, expect_labels
        from raykd.train.state import new_state

        self.job, self.recipe, self.rank, self.world = job, recipe, rank, world
        self.device, self.report, self.messenger = device, report, messenger
        self.folder, self.notices = Folder(job["run"]), []
        self._expect_storage()
        self.tell(phase="preparing data and networks")
        stage(recipe.data, self._tell_staging)
        self.prepared = prepare(recipe.data, progress=self._expect_no_stop)
        self.recipe = recipe = replace(recipe, data=normalised(recipe.data, self.prepared))
        threads = max(1, recipe.cpus_per_worker)
        place = {"rank": rank, "world": world, "device": device, "threads": threads}
        place["channels_last"] = recipe.precision.channels_last
        size = {"batch_size": recipe.batch_size}
        self.train_data = TrainLoader(recipe.data, self.prepared, seed=recipe.seed, **size, **place)
        expect_labels(recipe, self.train_data)
        self.test_data = TestLoader(recipe.data, self.prepared, **size, **place)
        self.autocast = autocast(recipe, device)
        classes = len(self.prepared.classes)
        self.teachers = load_teachers(
            recipe.teachers, recipe.data, self.prepared.classes, job["trained"], recipe.method.compares_classes
        )
        for teacher in self.teachers:
            for remark in teacher.remarks:
                self.notice(f"teacher {teacher.name}: {remark}")
        distiller = build_distiller(recipe, self.teachers, classes, recipe.seed)
        self.teachers = keep(self.teachers, recipe, distiller.teacher_features, self.train_data, self.notice)
        self.remote = self._remote_teachers(distiller.teacher_features)
        for teacher in self.teachers:
            teacher.network.to(device)
        self.state = new_state(recipe, distiller, device)
        self.figures: dict[str, Any] = {}

    def _expect_no_stop(self, split: str, total: int, size: int) -> None:
        """Raise StopRequested where the driver has been asked to stop: there is no step yet after which to do it."""
        if self.messenger is not None and self.messenger.stop_wanted.is_set():
            raise StopRequested(0)

    def _expect_storage(self) -> None:
        """Raise UserError where this node can't see the run's directory, which the driver has written.

        A worker that takes over from others waits for it instead: the storage has been there, and may come back.
        """
        from raykd.runs.directory import expect_there
        from raykd.storage.retry import patiently

        if self.messenger is not None and self.messenger.going_on():
            patiently(lambda: expect_there(self.folder), "finding the run's directory", self._tell_staging)
        elif not self.folder.exists("recipe.json"):
            raise UserError(
                f"storage: node {socket.gethostname()} can't see {self.folder.place}, which the driver has written; "
                "with several nodes give a --storage that all share, such as NFS, s3:// or gs://"
            )

    def tell(self, **progress: Any) -> None:
        """Tell the driver how the run stands; only rank 0 does."""
        if self.messenger is not None and self.rank == 0:
            self.messenger.tell(**progress)

    def notice(self, line: str) -> None:
        """Tell the user one line, besides the progress."""
        self.notices.append(line)
        self.tell(notices=tuple(self.notices))

    def _tell_staging(self, line: str) -> None:
        """What happens on a node is worth a line, also where rank 0, which else does all the telling, is elsewhere."""
        if self.messenger is not None:
            self.messenger.tell(**{f"staging {socket.gethostname()}": line})

    def close(self) -> None:
        for part in ("train_data", "test_data", "remote"):
            if getattr(self, part, None) is not None:
                getattr(self, part).close()

    def _remote_teachers(self, features: Sequence[tuple[str, ...]]) -> Any:
        """The worker's actors, which begin to load at once; None where its teachers are its own."""
        if self.recipe.teachers.placement == "inline" or not self.teachers:
            return None
        from raykd.launch.worker.remote_teachers import RemoteTeachers
        from raykd.recipe.length import total_steps

        steps = total_steps(self.recipe, self.train_data.size)
        return RemoteTeachers(self.job, self.recipe, self.rank, self.world, features, steps, self.messenger.note)

    def run(self) -> None:
        """Train to the end; rank 0 records on the way."""
        from raykd.launch.worker.recorder import Record
        from raykd.runs.directory import claim
        from raykd.storage.retry import patiently

        attempt = (
            patiently(lambda: claim(self.folder, self.world), "opening the run", self.notice) if self.rank == 0 else ""
        )
        stamp = self._resume()
        self._settle_form()
        self._ask_teachers()
        self._gather_teachers()
        record = Record(self, attempt, stamp) if self.rank == 0 else None
        try:
            self._train(record)
        except StopRequested:
            raise
        except Exception:
            if record is not None:
                record.fail()
            raise

    def _train(self, record: Any) -> None:
        from raykd.recipe.length import initial_steps
        from raykd.train.loop import Epoch, fit

        due = record.save_due if record is not None else lambda step: False
        events = fit(
            self.recipe,
            self.state,
            self.teachers,
            self.train_data,
            self.evaluate,
            self.device,
            due,
            self.rank,
            self.world,
            self.remote,
        )
        for event in events:
            if record is not None:
                record(event)
            if isinstance(event, Epoch) and "evaluation" in event.line:
                step = event.step - initial_steps(self.recipe, self.train_data.size)
                self.report({"epoch": event.epoch, "step": step, **event.line["evaluation"][self.deployed]})
        if not self.figures:  # resumed after the last evaluation, before the result
            self.evaluate(self.state.evaluated)
        if record is not None:
            record.finish()

    def _resume(self) -> Any:
        """Restore the newest checkpoint that reads, the same one on all workers; its stamp, or None."""
        from raykd.runs.checkpoint import resume
        from raykd.runs.directory import expect_there
        from raykd.storage.retry import patiently

        def read() -> Any:
            if self.rank == 0:  # which reads for all; storage that is away looks as if there were no checkpoint
                expect_there(self.folder)
            return resume(self.folder, self.notice, self.device)

        found = patiently(read, "reading the checkpoint", self.notice)
        if found is None:
            return None
        snapshot, stamp = found
        self.state.restore(snapshot)
        return stamp

    def _settle_form(self) -> None:
        """Let the teachers run in the form that is best here, where the recipe leaves that open."""
        if self.recipe.teachers.form != "auto" or not self.teachers:
            return
        from raykd.launch.worker.precision_choice import settle

        self.tell(phase="measuring the teachers' forms")
        place = (self.train_data, self.device, self.rank, self.notice)
        form = settle(self.folder, self.recipe, self.state.distiller, self.teachers, *place)
        self.teachers = [replace(teacher, form=form) for teacher in self.teachers]

    def _ask_teachers(self) -> None:
        """Each teacher's logits on the evaluation split, once: for its own accuracy, the ensemble's, the agreement."""
        from raykd.train.ensemble import scores, together
        from raykd.train.evaluate import collect, evaluate
        from raykd.train.nonfinite import NotFiniteError

        self.tell(phase="measuring teachers" if self.teachers else "starting")
        knowing = [teacher for teacher in self.teachers if teacher.knows_classes]
        kept = {t.name: collect(t.network, self.test_data.batches(), self.autocast) for t in knowing}
        self.teacher_logits = kept

        logits = iter(zip(*kept.values()))

        def replay(images: Any) -> dict[str, Any]:
            members = dict(zip(kept, (taught.to(self.device) for taught in next(logits))))
            return members | together(members)

        try:
            found = evaluate(replay, self.test_data.batches(), self.autocast, {})[0] if kept else {}
        except NotFiniteError as error:
            paths = ", ".join(f"{teacher.name} is {teacher.path}" for teacher in knowing)
            raise UserError(
                f"teachers: {error}; {paths}: damaged weights, or numbers too large for this precision"
            ) from None
        self.teacher_figures = {name: found[name] for name in kept}
        self.ensemble = scores({name: figures for name, figures in found.items() if name not in kept})
        for name, figures in self.teacher_figures.items():
            self.notice(said_of_teacher(name, figures.top1, len(self.prepared.classes), self.recipe.data.validation))

    def _gather_teachers(self) -> None:
        """Wait for remote teachers. Only their pass over the evaluation split ran here.

        Nothing of them stays on the student's device but their heads, with which a method may classify.
        """
        if self.remote is None:
            return
        for teacher in self.teachers:
            teacher.network.to("cpu")
            for section in ("pooled", "head"):
                for module in teacher.network.modules_of(section).values():
                    module.to(self.device)
        self.tell(phase="waiting for remote teachers")
        self.remote.gather()
        self.tell(phase="training")

    def evaluate(self, distiller: Any) -> dict[str, Any]:
        """Figures of all networks over all workers, as a line of metrics.jsonl has them."""
        from raykd.train.evaluate import evaluate

        distiller.eval()
        self.tell(phase="evaluating")
        batches = self.test_data.batches()
        self.figures, measures = evaluate(
            distiller.predict, batches, self.autocast, self.teacher_logits, distiller.measure
        )
        distiller.train()
        self.tell(phase="training")
        return {"evaluation": {name: figures.line() for name, figures in self.figures.items()}, "measures": measures}

    @property
    def deployed(self) -> str:
        return next(iter(self.figures))
