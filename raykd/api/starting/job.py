"""A Ray job of a recipe: what is sent, to which cluster, and what the job does."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from raykd import UserError
from raykd.launch.jobs import pack as packing
from raykd.launch.jobs import submit as jobs
from raykd.output import masked, masked_code, without_credentials
from raykd.recipe import Recipe
from raykd.recipe.files import shipped
from raykd.recipe.files.load import Loaded
from raykd.recipe.files.python_source import to_source
from raykd.recipe.serial import to_dict
from raykd.storage.atomic import temporary_folder

Notify = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to submit, to which cluster, and what the job does."""

    loaded: Loaded
    recipe: Recipe
    name: str
    """Name of the run; empty: given in `arguments`."""
    address: str
    """The Ray dashboard's URL; "": $RAY_API_SERVER_ADDRESS."""
    storage: str
    """Absolute path or URI on the cluster; "": $RAYKD_STORAGE or ~/raykd/runs there."""
    command: Literal["train", "tune", "study"]
    wandb_key: Literal["send", "cluster"]
    arguments: tuple[str, ...] = ()
    """Words that follow the recipe in the job's command."""


def send(request: Request, notify: Notify) -> jobs.Submitted:
    """Submit the job, and report what was sent and its dashboard; raises UserError before anything is sent."""
    address = request.address or os.environ.get("RAY_API_SERVER_ADDRESS", "")
    check(address, request.storage, request.arguments)
    check_sources(request.loaded.sources, request.recipe)
    arguments = (*request.arguments, *(("--storage", request.storage) if request.storage else ()))
    client = jobs.connect(address)
    with temporary_folder() as folder:
        recipe, root, size = _packed(request, Path(folder))
        key_note = _add_key(Path(folder), request, address)
        job = jobs.Job(request.command, recipe, arguments, request.name)
        job_id = jobs.submit(client, job, Path(folder))
    notify(f"job {job_id}: {job.entrypoint}")
    notify(f"  sent {packing.in_words(size)} of {root}; W&B key: {key_note}")
    notify(f"  dashboard {address.rstrip('/')}/#/jobs/{job_id}")
    return jobs.Submitted(job_id, address, client)


def check(address: str, storage: str, words: Sequence[str]) -> None:
    """Raise UserError for a missing address, and for a storage that is temporary or has credentials."""
    if not address:
        raise UserError("address: missing; give --address http://HOST:8265 or set RAY_API_SERVER_ADDRESS")
    for word in (storage, *words):
        if masked(word) != word:
            why = "set credentials on the cluster, as everyone who sees the dashboard can read the job's command"
            raise UserError(f"{masked(word)}: {why}")
    if storage and "://" not in storage and not storage.startswith(("/", "~")):
        raise UserError(f"storage: {storage!r} is relative; on a cluster it must be an absolute path or a URI")


def check_sources(sources: Mapping[str, str], recipe: Recipe) -> None:
    """Raise UserError if the recipe or one of the user's modules contains a URI with credentials."""
    named, plain = [name for name, text in sources.items() if masked_code(text) != text], to_dict(recipe)
    if without_credentials(plain) != plain:
        named.append("the recipe")
    if named:
        raise UserError(
            f"{named[0]} has credentials in a URI, and the cluster stores what is sent: remove them, and set them on "
            "the cluster"
        )


def _packed(request: Request, folder: Path) -> tuple[str, str, int]:
    """Fill the folder; returns the recipe's name in the job's command, what was packed, and its bytes."""
    loaded = request.loaded
    if loaded.is_file:
        root = packing.root_of(loaded)
        name = str(loaded.path.relative_to(root)) if root is not None else shipped.name_of(loaded.path)
        return name, str(root or "raykd"), packing.pack(root, folder)
    if request.recipe.search is not None:
        raise UserError("a recipe with a search must be in a file to be submitted: write it to one, and give its path")
    name = re.sub(r"\W", "_", f"sent_{request.name}") + ".py"
    files = {**loaded.sources, name: to_source(request.recipe, f"{request.name}, made in Python.")}
    return name, "raykd and the recipe", packing.pack(None, folder, files)


def _add_key(folder: Path, request: Request, address: str) -> str:
    """Add this machine's W&B key to the code if that is requested and safe; returns what was done, as text."""
    from raykd.launch.jobs import wandb_key as key
    from raykd.track import server

    if request.recipe.wandb.mode in ("offline", "disabled"):
        return "not needed"
    if request.wandb_key == "cluster":
        return "the cluster's own"
    own_key = server.key()
    if not own_key:
        return "none here, the cluster's own if it has one"
    if not jobs.private(address):
        return "not sent over plain http to another machine; use a tunnel or https, or store it on the head node"
    key.put(folder, own_key)
    return "sent as a file of mode 0600"
