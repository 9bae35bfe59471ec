"""A run's TorchTrainer, and the thread that fits it until the run ends."""

import threading
import time
from pathlib import Path
from typing import Any, cast

import ray.train
from ray.train.torch import TorchTrainer

from raykd.launch.cluster import capacity, preemption
from raykd.launch.cluster.ray_internals import kill_train_controllers
from raykd.launch.job_spec import JobSpec
from raykd.launch.jobs import wandb_key
from raykd.launch.run_state.failure import Size, of_train
from raykd.launch.run_state.state import LossReporter
from raykd.launch.worker.start import in_ray_worker
from raykd.recipe import Recipe
from raykd.storage.atomic import temporary_folder

PARK_SECONDS = 10.0  # for the thread to notice that its controller was killed


class TrainThread:
    """Runs `TorchTrainer.fit` in a daemon thread, again if Ray Train itself was lost; `error`: what ended the run."""

    def __init__(self, job: JobSpec, recipe: Recipe, state: Any):
        """state: handle of the run's RunState."""
        self.error: BaseException | None = None
        self._job, self._recipe, self._state, self._key = job, recipe, state, wandb_key.held_for(recipe)
        self._leaving, self._parked = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="train", daemon=True)
        self._thread.start()

    def runs(self, seconds: float) -> bool:
        """Wait at most so many seconds; returns whether the thread is still running."""
        self._thread.join(seconds)
        return self._thread.is_alive()

    def leave(self, ray_lives: bool) -> None:
        """Stop the thread before Ray ends: it would end this process, with status 1, if the thread called it later.

        ray_lives: False: Ray has already ended, so errors that this causes are only ignored.
        """
        self._leaving.set()
        if not ray_lives:
            return
        until = time.monotonic() + PARK_SECONDS
        while self._thread.is_alive() and not self._parked.is_set() and time.monotonic() < until:
            kill_train_controllers()
            self._parked.wait(0.2)

    def _run(self) -> None:
        while self.error is None:
            try:
                with temporary_folder() as folder:
                    trainer(self._job, self._recipe, folder, self._state, self._key).fit()
                return
            except Exception as error:  # noqa: BLE001  the main thread raises it again
                if self._leaving.is_set():
                    # Ray ends. It would end this process, before the reason is printed, if its objects were still
                    # used, even to release the error's frames; so this daemon thread stays here with them.
                    self._parked.set()
                    threading.Event().wait()
                if not self._can_start_again(error):
                    self.error = error

    def _can_start_again(self, error: BaseException) -> bool:
        """Whether Train's own actors were lost (workers are restarted by Train), and another start is allowed."""
        cause = getattr(error, "controller_failure", error)
        if not isinstance(cause, ray.exceptions.RayError) or isinstance(cause, ray.exceptions.RayTaskError):
            return False
        try:
            world = len(ray.get(self._state.workers.remote()))
            line = of_train(error, Size.of(self._recipe), world)
            return not ray.get(self._state.lose.remote(line, False, self._recipe.max_failures))
        except ray.exceptions.RayError:  # the cluster itself is gone
            return False


def trainer(job: JobSpec, recipe: Recipe, scratch: Path, state: Any, key: Any, restarts: bool = True) -> Any:
    """The TorchTrainer of a run. raykd writes its own checkpoints (runs/checkpoint.py); Ray gets a scratch folder.

    state, key: handles of the run's RunState and of the holder of W&B's key.
    restarts: True: as many as the run's LossPolicy allows, instead of Ray's own count; False: none.
    """
    train = cast(Any, ray.train)  # its type hints are those of Train V1
    return TorchTrainer(
        in_ray_worker,
        train_loop_config={"job": job, "state": state, "key": key},
        torch_config=preemption.Config(
            backend="nccl" if recipe.gpus_per_worker else "gloo", timeout_s=recipe.collective_timeout
        ),
        scaling_config=train.ScalingConfig(**_scaling(recipe)),
        run_config=train.RunConfig(
            name=job.name.replace("/", "-"),
            storage_path=str(scratch),
            failure_config=train.FailureConfig(max_failures=-1 if restarts else 0),
            logging_config=train.LoggingConfig(log_level="ERROR"),
            callbacks=[LossReporter(state, Size.of(recipe), recipe.max_failures if restarts else -1)],
        ),
    )


def _scaling(recipe: Recipe) -> dict[str, Any]:
    """Arguments of ScalingConfig."""
    return {
        "num_workers": recipe.workers,
        "use_gpu": recipe.gpus_per_worker > 0,
        "resources_per_worker": capacity.per_worker(recipe),
        "placement_strategy": "PACK",
        "elastic_resize_monitor_interval_s": 10,
        "label_selector": capacity.labels_of(recipe) or None,
    }
