"""One run from the driver's side: its directory, its workers by TorchTrainer, and what the user sees of it."""

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from raykd import UserError
from raykd.launch import cluster, key, lease, remote_room, rundir
from raykd.launch.checks import check, check_name
from raykd.launch.display import Display
from raykd.launch.failure import Size, cause_of, explain, of_train
from raykd.launch.rundir import Superseded
from raykd.launch.stage import publish
from raykd.launch.stop import StopRequested
from raykd.recipe import Recipe
from raykd.recipe.load import Loaded
from raykd.recipe.serial import fingerprint, to_dict
from raykd.track import run as track
from raykd.train.checkpoint import FOLDER as CHECKPOINTS
from raykd.train.storage import Folder


class RunFailed(RuntimeError):
    """A run ended without its result; one line says why."""


class Interrupted(Exception):
    """Asked to stop by a signal, and stopped in order."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


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
    if cluster.inside_job():
        key.adopt(Path.cwd())
    if recipe.workers == 0:
        _in_this_process(job, display)
    else:
        with cluster.connected():
            cluster.check_room(recipe)
            _on_ray(job, remote_room.bounded(recipe), display)


def _in_this_process(job: dict[str, Any], display: Display) -> None:
    import torch

    from raykd.launch.worker import work

    messenger = _LocalMessenger(display)
    with _signals() as caught:
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
        _give_up(kind, line)

    def going_on(self) -> bool:
        return False

    def close(self) -> None:
        self._display.show(self._latest)


def _on_ray(job: dict[str, Any], recipe: Recipe, display: Display) -> None:
    """Run the workers from a thread; this one shows progress and hears signals."""
    import ray

    from raykd.launch.board import Board

    board = Board.options(scheduling_strategy=cluster.on_this_node()).remote(watched=True)
    if recipe.wandb.mode in ("auto", "online"):
        ray.get(board.keep_key.remote(track.key()))
    outcome: dict[str, BaseException] = {}

    def fit() -> None:
        while "error" not in outcome:
            try:
                trainer(job | {"board": board}, recipe).fit()
                return
            except Exception as error:  # noqa: BLE001  whatever it is, the main thread raises it again, below
                if not _mendable(error, board, recipe):
                    outcome["error"] = error

    thread = threading.Thread(target=fit, name="train", daemon=True)
    silence, drains = Silence(), cluster.Drains()
    with _signals() as caught:
        thread.start()
        while thread.is_alive():
            thread.join(0.3)
            progress = ray.get(board.look.remote())
            display.show(progress)
            if "hopeless" in progress:
                _give_up(*progress["hopeless"])
            if silence.long(progress):
                display.say(cluster.waiting(recipe))
            if drains.new():
                board.ask_to_save.remote()
            if caught.event.is_set():
                _wait_for_stop(board, caught, display, thread)
    display.show(ray.get(board.look.remote()))
    if "error" in outcome:
        raise RunFailed(reason(outcome["error"], ray.get(board.places.remote()), recipe)) from outcome["error"]


def _mendable(error: BaseException, board: Any, recipe: Recipe) -> bool:
    """Whether Train's own actors were lost (workers are its own business), and the board allows another start."""
    import ray

    cause = getattr(error, "controller_failure", error)
    if not isinstance(cause, ray.exceptions.RayError) or isinstance(cause, ray.exceptions.RayTaskError):
        return False
    try:
        world = len(ray.get(board.places.remote()))
        line = of_train(error, Size.of(recipe), world)
        return not ray.get(board.lose.remote(line, False, recipe.max_failures))
    except ray.exceptions.RayError:  # the cluster itself is gone
        return False


def _give_up(kind: str, line: str) -> NoReturn:
    """End a run that a restart can't mend; leaving the driver ends its workers."""
    if kind == "input":
        raise UserError(line)
    raise RunFailed(line)


class Silence:
    """Whether the workers have said nothing new for some seconds; then it may be that they wait for room."""

    def __init__(self, seconds: float = 4.0):
        self._seconds, self._last, self._since = seconds, None, time.monotonic()

    def long(self, progress: dict[str, Any]) -> bool:
        """True once every so many seconds of silence."""
        now = time.monotonic()
        if progress != self._last:
            self._last, self._since = progress, now
        elif now - self._since > self._seconds:
            self._since = now
            return True
        return False


def _wait_for_stop(
    board: Any, caught: "_Caught", display: Display, thread: threading.Thread, seconds: float = 60
) -> None:
    """Ask rank 0 for a checkpoint, wait for it, and leave; a second signal leaves at once."""
    import ray

    first = caught.count
    board.ask_to_stop.remote()
    for _ in range(int(seconds / 0.2)):
        progress = ray.get(board.look.remote())
        if "stopped" in progress or not thread.is_alive() or caught.count > first or "step" not in progress:
            break
        thread.join(0.2)
    display.show(progress)
    raise Interrupted(caught.number)


def trainer(job: dict[str, Any], recipe: Recipe, restarts: bool = True) -> Any:
    """The TorchTrainer of a run. raykd keeps checkpoints itself (train/checkpoint.py): Ray's storage is scratch.

    restarts: as long as the board allows, which counts losses by what they cost (Ray counts all); False: none.
    """
    from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from raykd.launch import preemption
    from raykd.launch.board import Losses
    from raykd.launch.worker import in_ray_worker

    resources = cluster.per_worker(recipe)
    return TorchTrainer(
        in_ray_worker,
        train_loop_config=job,
        torch_config=preemption.Config(
            backend="nccl" if recipe.gpus_per_worker else "gloo", timeout_s=recipe.collective_timeout
        ),
        scaling_config=ScalingConfig(
            num_workers=recipe.workers,
            use_gpu=recipe.gpus_per_worker > 0,
            resources_per_worker=resources,
            placement_strategy="PACK",
            elastic_resize_monitor_interval_s=10,
            label_selector=cluster.labels_of(recipe) or None,
        ),
        run_config=RunConfig(
            name=job["name"].replace("/", "-"),
            storage_path=tempfile.mkdtemp(prefix="raykd-train-"),
            failure_config=FailureConfig(max_failures=-1 if restarts else 0),
            logging_config=LoggingConfig(log_level="ERROR"),
            callbacks=[Losses(job["board"], Size.of(recipe), recipe.max_failures if restarts else -1)],
        ),
    )


def reason(error: BaseException, places: dict[int, dict[str, Any]], recipe: Recipe) -> str:
    """Why a run failed, in one line; a user's error in a worker is raised again as what it is."""
    failures = getattr(error, "worker_failures", {})
    for cause in map(cause_of, failures.values()):
        if isinstance(cause, UserError) or type(cause).__name__ == "UserError":
            raise UserError(str(cause).strip().splitlines()[-1]) from None
    if failures:
        return explain(failures, places, Size.of(recipe))
    return of_train(error, Size.of(recipe), len(places))


@dataclass
class _Caught:
    event: threading.Event
    number: int = 0
    count: int = 0


@contextmanager
def _signals() -> Iterator[_Caught]:
    """Turn SIGINT and SIGTERM into an event, in the main thread."""
    caught = _Caught(threading.Event())
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def catch(number: int, frame: Any) -> None:
        caught.number, caught.count = number, caught.count + 1
        caught.event.set()

    before = {number: signal.signal(number, catch) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def default_storage() -> str:
    """$RAYKD_STORAGE, else ./runs; in a Ray job ~/raykd/runs, as its current folder is a copy that is thrown away."""
    return os.environ.get("RAYKD_STORAGE") or ("~/raykd/runs" if cluster.inside_job() else "runs")


def lasting(storage: str) -> None:
    """Raise UserError for a storage that would be lost with a Ray job's copy of the working directory."""
    if cluster.inside_job() and "://" not in storage and not Path(storage).expanduser().is_absolute():
        raise UserError(
            f"storage: {storage!r} would be lost with the job's copy of its folder; give an absolute path or a URI"
        )


def say_storage(storage: str, display: Display) -> None:
    """In a Ray job, where nobody sees the folder that the run's name stands in: say it."""
    if cluster.inside_job():
        display.console.print(f"storage: {Folder(storage).place}", highlight=False, soft_wrap=True)
