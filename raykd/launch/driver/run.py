"""The driver of one run: its directory, its workers (by TorchTrainer), and its display."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from raykd import UserError
from raykd.data.storage.prepare import identity_of
from raykd.data.storage.staging import publish
from raykd.launch.cluster import connection
from raykd.launch.cluster.signals import Interrupted, StopRequested, signals
from raykd.launch.driver.display import Display
from raykd.launch.driver.on_ray import train_on_ray
from raykd.launch.driver.run_plan import RunPlan
from raykd.launch.job_spec import JobSpec, git_commit, job_of
from raykd.launch.jobs import wandb_key
from raykd.launch.run_state.client import Client
from raykd.launch.run_state.failure import RunFailed, give_up
from raykd.launch.run_state.messages import Failure, Snapshot
from raykd.launch.worker.start import work
from raykd.recipe import Recipe
from raykd.runs.attempts import Superseded
from raykd.runs.changed import changed_code, outdated
from raykd.runs.checkpoints.stamps import FOLDER as CHECKPOINTS
from raykd.runs.directory import OPENED, open_run, refuse_other
from raykd.runs.results.models import Result
from raykd.runs.results.read import read_result
from raykd.storage import lease
from raykd.storage.folder import Folder
from raykd.track import server
from raykd.training.process import local_device


@dataclass(frozen=True)
class Finished:
    """A finished run: its directory and its result."""

    location: str
    result: Result
    trained: bool  # False: it was already finished


def train(plan: RunPlan, trained: list[str]) -> Finished:
    """Train one recipe whose teachers exist, resume it, or return its result if it is already finished.

    trained: run directories of the teachers that the recipe's `Train` sources stand for.
    """
    run, loaded, recipe, display = plan.run, plan.loaded, plan.recipe, plan.display
    with lease.held(run, display.console.print), _undone(run):
        git = git_commit(loaded.path.parent)
        job = job_of(run, recipe, trained, name=plan.name, sources=loaded.sources, git=git)
        result = read_result(run)
        if result is not None and result.status == "finished":
            refuse_other(run, recipe)
            what = outdated(run, loaded, recipe, job.fingerprint, identity_of(recipe.data))
            if what:
                display.note(f"{what} changed since {run} was trained; to train again, give another --name")
            return Finished(run.location, result, trained=False)
        changed = changed_code(run, loaded, recipe, job.fingerprint)
        open_run(run, recipe, loaded.sources, trained)
        if changed:
            display.note(changed)
        _expect_wandb_key(recipe)
        with display.run(plan.name, recipe):
            publish(recipe.data, display.log)
            if recipe.workers == 0:
                _train_in_this_process(job, recipe, display)
            else:
                train_on_ray(job, recipe, display)
    result = read_result(run)
    assert result is not None  # the workers have written it
    return Finished(run.location, result, trained=True)


@contextmanager
def _undone(run: Folder) -> Iterator[None]:
    """Context that removes a new run's directory if its input is refused: a corrected recipe may use the name."""
    new = not run.exists("recipe.json")
    try:
        yield
    except UserError:
        if new and not run.exists(CHECKPOINTS):
            for name in OPENED:
                run.delete(name)
        raise


def _expect_wandb_key(recipe: Recipe) -> None:
    """In a job, use the key that was sent with it; raises UserError if W&B must be online and there is no key."""
    if connection.inside_job():
        wandb_key.adopt(Path.cwd())
    if recipe.wandb.mode == "online" and not server.has_key():
        raise UserError("wandb.mode: online, but there is no key: wandb login, WANDB_API_KEY, or --wandb.mode auto")


def _train_in_this_process(job: JobSpec, recipe: Recipe, display: Display) -> None:
    device, client = local_device(recipe), _LocalClient(display)
    with signals() as caught:
        client.stop_wanted = caught.event
        try:
            work(job, 0, 1, device, lambda metrics: None, client)
        except StopRequested:
            raise Interrupted(caught.number) from None
        except (OSError, Superseded) as error:
            raise RunFailed(str(error)) from error


class _LocalClient(Client):
    """The client of a worker that runs in the driver's process."""

    def __init__(self, display: Display):
        super().__init__()
        self._display, self._snapshot = display, Snapshot()

    def update(self, **changes: Any) -> None:
        self._snapshot = replace(self._snapshot, progress=replace(self._snapshot.progress, **changes))
        self._display.show(self._snapshot)

    def copying(self, line: str) -> None:
        self._display.log(line)

    def note(self, line: str) -> None:
        self._display.note(line)

    def fail(self, failure: Failure) -> NoReturn:
        """End the run with RunFailed, caused by the error."""
        give_up(failure)


def default_storage() -> str:
    """$RAYKD_STORAGE, else ./runs; in a Ray job ~/raykd/runs, as its working directory is temporary."""
    return os.environ.get("RAYKD_STORAGE") or ("~/raykd/runs" if connection.inside_job() else "runs")


def lasting(storage: str) -> None:
    """Raise UserError for a storage that would be lost with a Ray job's temporary working directory."""
    if connection.inside_job() and "://" not in storage and not Path(storage).expanduser().is_absolute():
        raise UserError(
            f"storage: {storage!r} is relative, and would be lost with the job's copy of the folder; give an absolute "
            "path or a URI"
        )


def print_storage(storage: str, display: Display) -> None:
    """In a Ray job, print the storage, which is on the cluster."""
    if connection.inside_job():
        display.console.print(f"storage: {Folder(storage).location}")
