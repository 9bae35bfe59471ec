"""W&B's key on its way to the worker that logs.

Runtime environments, entry points and metadata of Ray jobs can be read by everyone who may see the dashboard: the
key never goes there. It travels as a file of mode 0600 beside the job's code, or stands on the head node beforehand;
the driver hands it to rank 0 through a Ray actor's memory.
"""

import netrc
import os
from pathlib import Path
from urllib.parse import urlparse

FILE = ".wandb-key"


def own() -> str:
    """This machine's key, from where W&B itself looks: WANDB_API_KEY, or the netrc file; empty: none."""
    if os.environ.get("WANDB_API_KEY"):
        return os.environ["WANDB_API_KEY"]
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        login = netrc.netrc(str(path)).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return ""
    return (login[2] or "") if login else ""


def put(folder: Path, key: str) -> None:
    """Write the key beside a job's code, readable by its owner alone."""
    descriptor = os.open(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key)


def adopt(folder: Path) -> None:
    """In a job's driver: use the key that came beside the code, unless the node has one of its own."""
    if (folder / FILE).is_file() and not own():
        os.environ["WANDB_API_KEY"] = (folder / FILE).read_text().strip()
