"""Runs the workers of one run by Ray's TorchTrainer, and monitors them."""

import threading
import time
from pathlib import Path
from typing import Any, cast

from raykd.launch.cluster import connection
from raykd.launch.cluster.failure import RunFailed, Size, give_up, in_short, of_train, reason
from raykd.launch.cluster.signals import Caught, Interrupted, signals
from raykd.launch.driver.display import Display
from raykd.launch.job_spec import JobSpec
from raykd.launch.run_state.messages import Snapshot
from raykd.recipe import Recipe
from raykd.storage.atomic import temporary_folder


def train_on_ray(job: JobSpec, recipe: Recipe, display: Display) -> None:
    """Run the workers from a thread; this one shows progress and hears signals."""
    import ray

    from raykd.launch.jobs import wandb_key
    from raykd.launch.run_state.state import RunState

    state = cast(Any, RunState).options(scheduling_strategy=connection.on_this_node()).remote(watched=True)
    key = wandb_key.held_for(recipe)
    outcome: dict[str, BaseException] = {}
    leaving = threading.Event()

    def fit() -> None:
        while "error" not in outcome:
            try:
                with temporary_folder() as folder:
                    trainer(job, recipe, folder, state, key).fit()
                return
            except Exception as error:  # noqa: BLE001  whatever it is, the main thread raises it again, below
                if leaving.is_set():
                    # Ray ends. It would end this process, before the reason is said, at anything that still touches
                    # it, be it to let go of the error's frames; so this daemon thread stays here with them.
                    threading.Event().wait()
                if not _mendable(error, state, recipe):
                    outcome["error"] = error

    thread = threading.Thread(target=fit, name="train", daemon=True)
    silence, drains = Silence(), connection.Drains()
    with signals() as caught:
        thread.start()
        try:
            while thread.is_alive():
                thread.join(0.3)
                snapshot = _read(state)
                display.show(snapshot)
                if snapshot.failure is not None:
                    try:
                        give_up(snapshot.failure)
                    except RunFailed as error:  # said before Ray ends, which sometimes takes this process with it
                        display.say(f"given up: {error}")
                        raise
                if silence.long(snapshot):
                    display.say(connection.waiting(recipe))
                if drains.new():
                    state.ask_to_save.remote()
                if caught.event.is_set():
                    _wait_for_stop(state, caught, display, thread)
        finally:
            leaving.set()
    display.show(ray.get(state.read.remote()))
    if "error" in outcome:
        raise RunFailed(reason(outcome["error"], ray.get(state.workers.remote()), recipe)) from outcome["error"]


def _mendable(error: BaseException, state: Any, recipe: Recipe) -> bool:
    """Whether Train's own actors were lost, not workers, which Train restarts itself, and another start is allowed."""
    import ray

    cause = getattr(error, "controller_failure", error)
    if not isinstance(cause, ray.exceptions.RayError) or isinstance(cause, ray.exceptions.RayTaskError):
        return False
    try:
        world = len(ray.get(state.workers.remote()))
        line = of_train(error, Size.of(recipe), world)
        return not ray.get(state.lose.remote(line, False, recipe.max_failures))
    except ray.exceptions.RayError:  # the cluster itself is gone
        return False


class Silence:
    """Detects that the workers have reported nothing new for some seconds; they may be waiting for resources."""

    def __init__(self, seconds: float = 4.0):
        self._seconds, self._since = seconds, time.monotonic()
        self._last: Snapshot | None = None

    def long(self, snapshot: Snapshot) -> bool:
        """True once for every period of silence."""
        now = time.monotonic()
        if snapshot != self._last:
            self._last, self._since = snapshot, now
        elif now - self._since > self._seconds:
            self._since = now
            return True
        return False


def _read(state: Any) -> Snapshot:
    """The run's state; raises RunFailed if its actor is gone, as Ray or its node is then lost."""
    import ray

    try:
        return ray.get(state.read.remote())
    except ray.exceptions.ActorDiedError as error:
        raise RunFailed(f"Ray has ended: {in_short(error)}; the same command continues from there") from None


def _wait_for_stop(state: Any, caught: Caught, display: Display, thread: threading.Thread, seconds: float = 60) -> None:
    """Request a checkpoint from rank 0, wait for it, and raise Interrupted; a second signal raises it at once."""
    first = caught.count
    state.ask_to_stop.remote()
    for _ in range(int(seconds / 0.2)):
        snapshot = _read(state)
        progress = snapshot.progress
        if progress.stopped is not None or not thread.is_alive() or caught.count > first or progress.step is None:
            break
        thread.join(0.2)
    display.show(snapshot)
    raise Interrupted(caught.number)


def trainer(job: JobSpec, recipe: Recipe, scratch: Path, state: Any, key: Any, restarts: bool = True) -> Any:
    """The TorchTrainer of a run. raykd writes its own checkpoints (runs/checkpoint.py); Ray gets a scratch folder.

    state, key: handles of the run's RunState and of the holder of W&B's key.
    restarts: True: as many as the run's LossPolicy allows, instead of Ray's own count; False: none.
    """
    import ray.train
    from ray.train.torch import TorchTrainer

    from raykd.launch.cluster import preemption
    from raykd.launch.run_state.state import LossReporter
    from raykd.launch.worker.worker import in_ray_worker

    resources, train = connection.per_worker(recipe), cast(Any, ray.train)  # its type hints are those of Train V1
    return TorchTrainer(
        in_ray_worker,
        train_loop_config={"job": job, "state": state, "key": key},
        torch_config=preemption.Config(
            backend="nccl" if recipe.gpus_per_worker else "gloo", timeout_s=recipe.collective_timeout
        ),
        scaling_config=train.ScalingConfig(
            num_workers=recipe.workers,
            use_gpu=recipe.gpus_per_worker > 0,
            resources_per_worker=resources,
            placement_strategy="PACK",
            elastic_resize_monitor_interval_s=10,
            label_selector=connection.labels_of(recipe) or None,
        ),
        run_config=train.RunConfig(
            name=job.name.replace("/", "-"),
            storage_path=str(scratch),
            failure_config=train.FailureConfig(max_failures=-1 if restarts else 0),
            logging_config=train.LoggingConfig(log_level="ERROR"),
            callbacks=[LossReporter(state, Size.of(recipe), recipe.max_failures if restarts else -1)],
        ),
    )
