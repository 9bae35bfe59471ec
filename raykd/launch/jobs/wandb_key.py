"""W&B's key on its way to the worker that logs.

Runtime environments, entry points and metadata of Ray jobs can be read by everyone who may see the dashboard: the
key never goes there. It travels as a file of mode 0600 beside the job's code, or stands on the head node beforehand;
the driver hands it to rank 0 through a Ray actor's memory.
"""

import os
from pathlib import Path

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
