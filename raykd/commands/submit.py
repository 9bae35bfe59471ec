"""raykd submit: runs a recipe or a study as a Ray job."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from raykd import UserError
from raykd.recipe import Recipe
from raykd.recipe.command_line import parse
from raykd.recipe.files.load import Loaded, load
from raykd.recipe.study.overrides import Option
from raykd.recipe.study.overrides import options as split_options
from raykd.terminal import Terminal


@dataclass(frozen=True, kw_only=True)
class Sending:
    """The options of a submission, for any command."""

    storage: str = ""
    """Folder or URI (s3://, gs://, …) of the runs; empty: $RAYKD_STORAGE or ~/raykd/runs on the cluster."""
    address: str = field(default_factory=lambda: os.environ.get("RAY_API_SERVER_ADDRESS", ""))
    """The Ray dashboard's URL, e.g. http://127.0.0.1:8265; default: $RAY_API_SERVER_ADDRESS."""
    wait: bool = True
    """Follow the log and return the job's exit status; else return after submission."""
    command: Literal["train", "tune", "study"] = "train"
    """The command that the job runs."""
    wandb_key: Literal["send", "cluster"] = "send"
    """send: send this machine's W&B key, hidden; cluster: the head node has its own."""


@dataclass(frozen=True, kw_only=True)
class Options(Sending):
    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    name: str
    """Name of the run; an existing run of that name is resumed."""


OWN = ("--address", "--command", "--wandb-key", "--wandb_key", "--storage", "--wait", "--no-wait")


def run(arguments: Sequence[str]) -> int:
    """Submit a recipe; returns the job's exit status, or 0 at once with --no-wait."""
    loaded, chosen = options(arguments)
    from raykd.api.starting.job import Request, send

    console = Terminal()
    fields = {name: value for name, value in vars(chosen).items() if name != "wait"}
    job = send(Request(loaded=loaded, arguments=passed_on(arguments[1:]), **fields), console.print)
    controls = f"ray job logs -f {job.id}, stop it with ray job stop {job.id} (RAY_API_SERVER_ADDRESS={job.address})"
    if not chosen.wait:
        console.print(f"  follow it with {controls}")
        return 0
    try:
        wandb = job.follow(lambda text: console.print(text, end="", soft_wrap=True))
    except KeyboardInterrupt:
        console.print(f"\nthe job continues; follow it with {controls}")
        return 130
    console.print(f"job {job.id}: {job.status}, exit status {job.exit_status}")
    if wandb:
        console.print(f"  W&B run {wandb}")
    return job.exit_status


def options(arguments: Sequence[str]) -> tuple[Loaded, Options]:
    """Parse RECIPE and its options here, so that mistakes are reported before anything is sent."""
    from raykd.api.starting.job import check

    if not arguments or arguments[0].startswith("-"):
        raise UserError("raykd submit needs a recipe: raykd submit digits/kd --address URL")
    loaded, chosen = (_of_study if _names_study(arguments) else _of_recipe)(arguments)
    check(chosen.address, chosen.storage, passed_on(arguments[1:]))
    return loaded, chosen


def _is_own(option: Option) -> bool:
    return option[0].partition("=")[0] in OWN


def passed_on(arguments: Sequence[str]) -> tuple[str, ...]:
    """The arguments of the job's command: without the options of the submission."""
    return tuple(word for option in split_options(arguments) if not _is_own(option) for word in option)


def _names_study(arguments: Sequence[str]) -> bool:
    return any("=".join(option) == "--command=study" for option in split_options(arguments[1:]))


def _of_recipe(arguments: Sequence[str]) -> tuple[Loaded, Options]:
    from raykd.api.starting.plan import default_name

    loaded = load(arguments[0])
    default = Options(recipe=loaded.recipe, name=default_name(loaded.path))
    return loaded, parse(Options, default, arguments[1:], f"raykd submit {arguments[0]}", loaded.docstring)


def _of_study(arguments: Sequence[str]) -> tuple[Loaded, Options]:
    """The options of the job, and all others as `raykd study` reads them; the first cell stands for all."""
    from raykd.commands.study import choose

    plan, _ = choose([arguments[0], *passed_on(arguments[1:])], "submit")
    words = [word for option in split_options(arguments[1:]) if _is_own(option) for word in option]
    sending = parse(Sending, Sending(), words, f"raykd submit {arguments[0]}", plan.loaded.docstring)
    recipe = plan.cells[0].recipe
    return plan.loaded.of(recipe), Options(recipe=recipe, name=plan.name, **vars(sending))
