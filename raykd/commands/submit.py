"""raykd submit: a recipe or a study as a Ray job; its log, its addresses, and its exit status."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from raykd import UserError
from raykd.output import masked
from raykd.recipe import Recipe, shipped
from raykd.recipe.load import Loaded, load, parse
from raykd.recipe.study_words import options as split_options
from raykd.storage.atomic import temporary_folder
from raykd.terminal import Terminal


@dataclass(frozen=True, kw_only=True)
class Sending:
    """What is said of the job, whatever it does."""

    storage: str = ""
    """Folder or URI (s3://, gs://, …) under which runs stand; empty: $RAYKD_STORAGE or ~/raykd/runs on the cluster."""
    address: str = ""
    """The Ray dashboard's URL, e.g. http://127.0.0.1:8265; default: $RAY_API_SERVER_ADDRESS."""
    wait: bool = True
    """Follow the log and end with the job's exit status; else return once it is submitted."""
    command: Literal["train", "tune", "study"] = "train"
    """What the job does with the recipe, or with the study."""
    wandb_key: Literal["send", "cluster"] = "send"
    """send: this machine's W&B key goes along, hidden; cluster: the head node has one of its own."""


@dataclass(frozen=True, kw_only=True)
class Options(Sending):
    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    name: str
    """Name of the run; the same name again goes on where it stopped."""


OWN = ("--address", "--command", "--wandb-key", "--wandb_key", "--storage")
FLAGS = ("--wait", "--no-wait")


def run(arguments: Sequence[str]) -> int:
    """Submit a recipe; returns the job's exit status, or 0 at once with --no-wait."""
    loaded, chosen = options(arguments)
    from raykd.launch.jobs import submit

    console = Terminal()
    kept = [word for word in submit.arguments_without(arguments[1:], OWN) if word not in FLAGS]
    kept += ["--storage", chosen.storage] if chosen.storage else []
    root = submit.root_of(loaded)
    recipe = str(loaded.path.relative_to(root)) if root is not None else shipped.name_of(loaded.path)
    job = submit.Job(chosen.command, recipe, tuple(kept), chosen.name)
    client = submit.connect(chosen.address)
    with temporary_folder() as folder:
        size = submit.pack(root, Path(folder))
        told = add_key(Path(folder), chosen)
        job_id = submit.submit(client, job, Path(folder))
    console.print(f"job {job_id}: {job.entrypoint}")
    console.print(f"  sent {submit.in_words(size)} of {root or 'raykd'}; W&B key: {told}")
    console.print(f"  dashboard {chosen.address.rstrip('/')}/#/jobs/{job_id}")
    controls = f"ray job logs -f {job_id}, stop it with ray job stop {job_id} (RAY_API_SERVER_ADDRESS={chosen.address})"
    if not chosen.wait:
        console.print(f"  follow it with {controls}")
        return 0
    try:
        wandb = submit.follow(client, job_id, lambda text: console.print(text, end=""))
    except KeyboardInterrupt:
        console.print(f"\nthe job goes on; follow it with {controls}")
        return 130
    status = submit.exit_status(client, job_id)
    console.print(f"job {job_id}: {client.get_job_status(job_id).lower()}, exit status {status}")
    if wandb:
        console.print(f"  W&B run {wandb}")
    return status


def options(arguments: Sequence[str]) -> tuple[Loaded, Options]:
    """RECIPE and what follows it, read here so that a mistake shows before anything is sent."""
    from raykd.launch.jobs.submit import arguments_without

    if not arguments or arguments[0].startswith("-"):
        raise UserError("raykd submit needs a recipe: raykd submit digits/kd --address URL")
    loaded, chosen = (_of_study if _names_study(arguments) else _of_recipe)(arguments)
    if not chosen.address:
        raise UserError("address: where is the cluster? Give --address http://HOST:8265 or set RAY_API_SERVER_ADDRESS")
    for word in arguments_without(arguments[1:], OWN[:1]):
        if masked(word) != word:
            said = "all who see the dashboard can read the job's command; set credentials there"
            raise UserError(f"{masked(word)}: {said}")
    if chosen.storage and "://" not in chosen.storage and not chosen.storage.startswith(("/", "~")):
        raise UserError(f"storage: {chosen.storage!r} is relative; on the cluster only an absolute path or a URI lasts")
    return loaded, chosen


def _names_study(arguments: Sequence[str]) -> bool:
    words = [word for option in split_options(arguments[1:]) for word in "=".join(option).split("=")]
    return ("--command", "study") in zip(words, words[1:], strict=False)


def _of_recipe(arguments: Sequence[str]) -> tuple[Loaded, Options]:
    from raykd.commands.train import default_name

    loaded = load(arguments[0])
    address = os.environ.get("RAY_API_SERVER_ADDRESS", "")
    default = Options(recipe=loaded.recipe, name=default_name(loaded.path), address=address)
    return loaded, parse(Options, default, arguments[1:], f"raykd submit {arguments[0]}", loaded.docstring)


def _of_study(arguments: Sequence[str]) -> tuple[Loaded, Options]:
    """The options of the job, and all others as `raykd study` reads them; the first cell stands for all."""
    from raykd.commands.study import choose

    groups = split_options(arguments[1:])
    own = [option for option in groups if option[0].partition("=")[0] in (*OWN, *FLAGS)]
    others = [word for option in groups if option not in own for word in option]
    study = choose([arguments[0], *others], "submit")
    default = Sending(address=os.environ.get("RAY_API_SERVER_ADDRESS", ""))
    words = [word for option in own for word in option]
    sending = parse(Sending, default, words, f"raykd submit {arguments[0]}", study.loaded.docstring)
    recipe = study.cells[0].recipe
    return study.loaded.of(recipe), Options(recipe=recipe, name=study.options.name, **vars(sending))


def add_key(folder: Path, chosen: Options) -> str:
    """Put this machine's W&B key beside the code where that is wanted and safe; says what was done."""
    from raykd.launch.jobs import submit
    from raykd.launch.jobs import wandb_key as key
    from raykd.track import server

    if chosen.recipe.wandb.mode in ("offline", "disabled"):
        return "not needed"
    if chosen.wandb_key == "cluster":
        return "the cluster's own"
    found = server.key()
    if not found:
        return "none here, the cluster's own if it has one"
    if not submit.private(chosen.address):
        return "not sent over plain http to another machine; use a tunnel or https, or store it on the head node"
    key.put(folder, found)
    return "sent as a file of mode 0600"
