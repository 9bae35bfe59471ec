"""Transport of W&B's API key to the worker that logs.

Runtime environments, entry points and metadata of Ray jobs can be read by everyone with access to the dashboard, so
they never contain the key. It is a file of mode 0600 beside the job's code, or is already on the head node; the driver
passes it to rank 0 through the memory of a Ray actor.
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
    """Write the key beside a job's code, readable by its owner only."""
    descriptor = os.open(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key)


def adopt(folder: Path) -> None:
    """In a job's driver: use the key that was sent beside the code, if there is one."""
    if (folder / FILE).is_file():
        os.environ["WANDB_API_KEY"] = (folder / FILE).read_text(encoding="utf-8").strip()


@ray.remote(num_cpus=0)
class KeyHolder:
    """A small actor that holds W&B's API key for the workers that log.

    The key is passed by a method call: constructor arguments are visible in the cluster's tables.
    """

    def __init__(self) -> None:
        self._key = ""

    def hold(self, key: str) -> None:
        self._key = key

    def key(self) -> str:
        return self._key


def held_for(recipe: Recipe) -> Any:
    """A new KeyHolder on this node; it holds the key only if the recipe's runs may need it."""
    holder = cast(Any, KeyHolder).options(scheduling_strategy=on_this_node()).remote()
    if recipe.wandb.mode in ("auto", "online"):
        ray.get(holder.hold.remote(server.key()))
    return holder


def take(holder: Any) -> None:
    """Make the driver's key, if there is one, available to W&B in this process."""
    key = ray.get(holder.key.remote())
    if key:
        os.environ["WANDB_API_KEY"] = key
