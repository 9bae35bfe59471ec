"""The workers of one run by Ray's TorchTrainer, and the driver that watches them."""

import threading
import time
from pathlib import Path
from typing import Any

from raykd.launch.cluster import connection
from raykd.launch.cluster.failure import RunFailed, Size, give_up, of_train, reason
from raykd.launch.cluster.signals import Caught, Interrupted, signals
from raykd.launch.driver.display import Display
from raykd.recipe import Recipe
from raykd.storage.atomic import temporary_folder
from raykd.track import server


def on_ray(job: dict[str, Any], recipe: Recipe, display: Display) -> None:
    """Run the workers from a thread; this one shows progress and hears signals."""
    import ray

    from raykd.launch.cluster.run_state import Board

    board = Board.options(scheduling_strategy=connection.on_this_node()).remote(watched=True)
    if recipe.wandb.mode in ("auto", "online"):
        ray.get(board.keep_key.remote(server.key()))
    outcome: dict[str, BaseException] = {}
    leaving = threading.Event()

    def fit() -> None:
        while "error" not in outcome:
            try:
                with temporary_folder() as folder:
                    trainer(job | {"board": board}, recipe, folder).fit()
                return
            except Exception as error:  # noqa: BLE001  whatever it is, the main thread raises it again, below
                if leaving.is_set():
                    # Ray ends. It would end this process, before the reason is said, at anything that still touches
                    # it, be it to let go of the error's frames; so this daemon thread stays here with them.
                    threading.Event().wait()
                if not _mendable(error, board, recipe):
                    outcome["error"] = error

    thread = threading.Thread(target=fit, name="train", daemon=True)
    silence, drains = Silence(), connection.Drains()
    with signals() as caught:
        thread.start()
        try:
            while thread.is_alive():
                thread.join(0.3)
                progress = ray.get(board.look.remote())
                display.show(progress)
                if "hopeless" in progress:
                    try:
                        give_up(*progress["hopeless"])
                    except RunFailed as error:  # said before Ray ends, which sometimes takes this process with it
                        display.say(f"given up: {error}")
                        raise
                if silence.long(progress):
                    display.say(connection.waiting(recipe))
                if drains.new():
                    board.ask_to_save.remote()
                if caught.event.is_set():
                    _wait_for_stop(board, caught, display, thread)
        finally:
            leaving.set()
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


def _wait_for_stop(board: Any, caught: Caught, display: Display, thread: threading.Thread, seconds: float = 60) -> None:
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


def trainer(job: dict[str, Any], recipe: Recipe, scratch: Path, restarts: bool = True) -> Any:
    """The TorchTrainer of a run. raykd keeps checkpoints itself (train/checkpoint.py); Ray writes to a scratch folder.

    restarts: as long as the board allows, which counts losses by what they cost (Ray counts all); False: none.
    """
    from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from raykd.launch.cluster import preemption
    from raykd.launch.cluster.run_state import Losses
    from raykd.launch.worker.worker import in_ray_worker

    resources = connection.per_worker(recipe)
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
            label_selector=connection.labels_of(recipe) or None,
        ),
        run_config=RunConfig(
            name=job["name"].replace("/", "-"),
            storage_path=str(scratch),
            failure_config=FailureConfig(max_failures=-1 if restarts else 0),
            logging_config=LoggingConfig(log_level="ERROR"),
            callbacks=[Losses(job["board"], Size.of(recipe), recipe.max_failures if restarts else -1)],
        ),
    )
