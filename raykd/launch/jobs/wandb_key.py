"""W&B's key on its way to the worker that logs.

Runtime environments, entry points and metadata of Ray jobs can be read by everyone who may see the dashboard: the
key never goes there. It travels as a file of mode 0600 beside the job's code, or stands on the head node beforehand;
the driver hands it to rank 0 through a Ray actor's memory.
"""

import os
from pathlib import Path
from typing import Any, cast

import ray

from raykd.launch.cluster.connection import on_this_node
from raykd.recipe import Recipe
from raykd.track import server

FILE = ".wandb-key"


def put(folder: Path, key: str) -> None:
    """Write the key beside a job's code, readable by its owner alone."""
    descriptor = os.open(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key)


def adopt(folder: Path) -> None:
    """In a job's driver: use the key that came beside the code, if one did."""
    if (folder / FILE).is_file():
        os.environ["WANDB_API_KEY"] = (folder / FILE).read_text(encoding="utf-8").strip()


@ray.remote(num_cpus=0)
class KeyHolder:
    """A small actor that holds W&B's key for the workers that log.

    The key is given by a call: constructor arguments would stand in the cluster's tables.
    """

    def __init__(self) -> None:
        self._key = ""

    def hold(self, key: str) -> None:
        self._key = key

    def key(self) -> str:
        return self._key


def held_for(recipe: Recipe) -> Any:
    """A new holder on this node, of the key where the recipe's runs may need it."""
    holder = cast(Any, KeyHolder).options(scheduling_strategy=on_this_node()).remote()
    if recipe.wandb.mode in ("auto", "online"):
        ray.get(holder.hold.remote(server.key()))
    return holder


def take(holder: Any) -> None:
    """Let W&B find the driver's key in this process, if the driver has one."""
    key = ray.get(holder.key.remote())
    if key:
        os.environ["WANDB_API_KEY"] = key
