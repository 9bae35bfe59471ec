"""Submission of a recipe as a Ray job, from Python."""

from pathlib import Path
from typing import Literal

from raykd import UserError
from raykd.api.starting.job import Request, send
from raykd.api.starting.plan import default_name, loaded_as
from raykd.launch.jobs.submit import Submitted
from raykd.recipe import Recipe
from raykd.recipe.files.load import Loaded
from raykd.recipe.study.load import load_study
from raykd.recipe.validate import checked
from raykd.terminal import Terminal


@checked
def submit(
    recipe: Recipe | str | Path,
    *,
    address: str = "",
    name: str = "",
    storage: str = "",
    command: Literal["train", "tune", "study"] = "train",
    wandb_key: Literal["send", "cluster"] = "send",
    wait: bool = True,
    show: bool = True,
) -> Submitted:
    """Train or tune a recipe, or run a study, as a Ray job, with the user's modules and this installation of raykd.

    recipe, name: as of `raykd.train`; for a study, as of `raykd.study`.
    address: URL of the Ray dashboard; "": $RAY_API_SERVER_ADDRESS.
    storage: an absolute path or a URI on the cluster; "": $RAYKD_STORAGE or ~/raykd/runs there.
    command: the command that the job runs.
    wandb_key: "send": send this machine's W&B key, hidden; "cluster": the head node has its own.
    wait: return when the job has ended; with `show`, its log is printed meanwhile. Its failure doesn't raise: see
    `Submitted.exit_status`.
    show: print what is sent, and the log.

    Raises UserError, before anything is sent, for invalid input, and if no job server answers at the address.
    """
    loaded, name = study_as(recipe, name) if command == "study" else loaded_as(recipe, name)
    notify = Terminal().print if show else lambda *words, **options: None
    request = Request(
        loaded=loaded,
        recipe=loaded.recipe,
        name=name,
        address=address,
        storage=storage,
        command=command,
        wandb_key=wandb_key,
        arguments=("--name", name),
    )
    sent = send(request, notify)
    if wait:
        sent.follow(lambda text: notify(text, end=""))
    return sent


def study_as(study: Recipe | str | Path, name: str) -> tuple[Loaded, str]:
    """A study's file with its sources and its first cell's recipe, and the study's name, by default from the file's.

    Raises UserError for a `Recipe`.
    """
    if isinstance(study, Recipe):
        raise UserError("command: study needs the path of a study's file, or the name of one of `raykd list studies`")
    loaded = load_study(study)
    return loaded.of(loaded.cells[0].recipe), name or default_name(loaded.path)
