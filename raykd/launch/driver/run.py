"""One run from the driver's side: its directory, its workers by TorchTrainer, and what the user sees of it."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from raykd import UserError
from raykd.data.staging import publish
from raykd.launch.cluster import actor_capacity, connection
from raykd.launch.cluster.failure import RunFailed, give_up
from raykd.launch.cluster.signals import Interrupted, StopRequested, signals
from raykd.launch.driver.display import Display
from raykd.launch.driver.torch_trainer import on_ray
from raykd.launch.driver.validate import check, check_name
from raykd.launch.jobs import wandb_key
from raykd.recipe import Recipe
from raykd.recipe.fingerprint import fingerprint
from raykd.recipe.load import Loaded
from raykd.recipe.serial import to_dict
from raykd.runs import directory as rundir
from raykd.runs.checkpoint import FOLDER as CHECKPOINTS
from raykd.runs.directory import Superseded
from raykd.storage import lease
from raykd.storage.folder import Folder


@dataclass(frozen=True)
class Finished:
    """Where a finished run is and what came of it."""

    place: str
    result: dict[str, Any]
    trained: bool  # False: it had been finished before


def train(loaded: Loaded, recipe: Recipe, name: str, storage: str, trained: list[str], display: Display) -> Finished:
    """Train one recipe whose teachers are there, or go on with it, or find it finished.

    trained: run directories of the teachers that the recipe's `Train` sources stand for.
    """
    check_name(name)
    check(recipe)
    run = Folder(storage) / name
    with only_one(run, display.console.print), _undone(run):
        changed = rundir.open_run(run, loaded, recipe, trained)
        if changed:
            display.note(changed)
        result = rundir.result_of(run)
        if result is not None and result["status"] == "finished":
            return Finished(run.place, result, trained=False)
        job = {
            "recipe": to_dict(recipe),
            "sources": loaded.sources,
            "run": run.place,
            "name": name,
            "trained": trained,
            "fingerprint": fingerprint(recipe),
            "git": git_commit(loaded.path.parent),
        }
        with display.run(name, recipe):
            publish(recipe.data, display.say)
            _work(job, recipe, display)
    return Finished(run.place, run.read_json("result.json"), trained=True)


@contextmanager
def _undone(run: Folder) -> Iterator[None]:
    """Where a new run is refused for its input, leave nothing of it behind: a corrected recipe may take the name."""
    new = not run.exists("recipe.json")
    try:
        yield
    except UserError:
        if new and not run.exists(CHECKPOINTS):
            for name in rundir.OPENED:
                run.delete(name)
        raise


@contextmanager
def only_one(run: Folder, say: Callable[[str], None] = print) -> Iterator[None]:
    """Hold the run's name; raises UserError where another process trains under it, on this machine or another."""
    with lease.held(run, say):
        yield


def git_commit(folder: Path) -> str:
    """The commit of the recipe's checkout, with "+" where files differ from it; empty where there is none."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--exclude=*", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _work(job: dict[str, Any], recipe: Recipe, display: Display) -> None:
    if connection.inside_job():
        wandb_key.adopt(Path.cwd())
    if recipe.workers == 0:
        _in_this_process(job, display)
    else:
        with connection.connected():
            connection.check_room(recipe)
            on_ray(job, actor_capacity.bounded(recipe), display)


def _in_this_process(job: dict[str, Any], display: Display) -> None:
    import torch

    from raykd.launch.worker.worker import work

    messenger = _LocalMessenger(display)
    with signals() as caught:
        messenger.stop_wanted = caught.event
        try:
            work(job, 0, 1, torch.device("cpu"), lambda metrics: None, messenger)
        except StopRequested:
            raise Interrupted(caught.number) from None
        except (OSError, Superseded) as error:
            raise RunFailed(str(error)) from error


class _LocalMessenger:
    """The messenger of a worker that is the driver itself."""

    def __init__(self, display: Display):
        self.stop_wanted, self.save_wanted = threading.Event(), threading.Event()
        self._display, self._latest = display, {}

    def tell(self, **progress: Any) -> None:
        self._latest = self._latest | progress
        self._display.show(self._latest)

    def fail(self, kind: str, line: str) -> NoReturn:
        """End the run; the error itself is the new one's cause."""
        give_up(kind, line)

    def going_on(self) -> bool:
        return False

    def close(self) -> None:
        self._display.show(self._latest)


def default_storage() -> str:
    """$RAYKD_STORAGE, else ./runs; in a Ray job ~/raykd/runs, as its current folder is a copy that is thrown away."""
    return os.environ.get("RAYKD_STORAGE") or ("~/raykd/runs" if connection.inside_job() else "runs")


def lasting(storage: str) -> None:
    """Raise UserError for a storage that would be lost with a Ray job's copy of the working directory."""
    if connection.inside_job() and "://" not in storage and not Path(storage).expanduser().is_absolute():
        raise UserError(
            f"storage: {storage!r} would be lost with the job's copy of its folder; give an absolute path or a URI"
        )


def say_storage(storage: str, display: Display) -> None:
    """In a Ray job, where nobody sees the folder that the run's name stands in: say it."""
    if connection.inside_job():
        display.console.print(f"storage: {Folder(storage).place}")
