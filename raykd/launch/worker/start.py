"""The start of a worker: Train's function on Ray, and `work`, which the driver calls itself with `workers=0`.

It is light, as drivers import it; a run's heavy modules are imported by `work`.
"""

import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import ray.train
import ray.train.torch

from raykd.contract import Placement
from raykd.launch.cluster.signals import StopRequested
from raykd.launch.job_spec import JobSpec
from raykd.launch.jobs import wandb_key
from raykd.launch.run_state.client import Client, StateClient
from raykd.launch.run_state.failure import fatal
from raykd.training.process import hide_gpus, use_cpus

Report = Callable[[dict[str, Any]], None]
"""Called with the metrics of every evaluation, on every rank."""


def in_ray_worker(given: dict[str, Any]) -> None:
    """The train function of TorchTrainer: `work` with this worker's rank.

    given: "job", its JobSpec; "state" and "key", handles of the run's RunState and of the holder of W&B's key.
    """
    context, device = ray.train.get_context(), ray.train.torch.get_device()
    if device.type == "cpu":
        hide_gpus()
    rank, world = context.get_world_rank(), context.get_world_size()
    client = StateClient(given["state"], rank)
    if rank == 0:
        wandb_key.take(given["key"])
    try:
        work(given["job"], rank, world, device, ray.train.report, client)
    except StopRequested:
        # Raised on rank 0 only, while the others wait in a collective. An error here would make Ray restart the
        # group, so rank 0 waits for the driver, which now ends the whole group.
        threading.Event().wait(120)


def work(job: JobSpec, rank: int, world: int, device: Any, report: Report, client: Client) -> None:
    """Train the job's recipe from its newest checkpoint to its end."""
    with job.opened() as recipe, closing(client):
        use_cpus(recipe.cpus_per_worker)
        placement = Placement(device, max(1, recipe.cpus_per_worker), rank, world, recipe.gpus_per_worker)
        try:
            from raykd.launch.worker.worker import Worker

            with closing(Worker(job, recipe, placement, report, client)) as worker:
                worker.run()
        except Exception as error:
            failure = fatal(error, recipe, rank, world)
            if failure is not None:
                client.fail(failure)
            raise
