"""Downloads runs of a W&B project as run directories, with the files that raykd uploaded."""

import re
from pathlib import Path
from typing import Any

from raykd import UserError
from raykd.track.connection import FILES
from raykd.track.server import quiet_wandb, unreachable


def download(project: str, to: Path) -> Path:
    """Download the runs of ENTITY/PROJECT[/GROUP] into a folder; runs of other programs are skipped.

    Raises UserError if there is no such project, or it has no run of raykd.
    """
    parts = project.split("/")
    if len(parts) not in (2, 3) or not all(parts):
        raise UserError(f"wandb:{project}: give wandb:ENTITY/PROJECT or wandb:ENTITY/PROJECT/GROUP")
    trouble = unreachable()
    if trouble:
        raise UserError(f"can't read wandb:{project}: {trouble}")
    wandb = quiet_wandb()
    filters = {"group": parts[2]} if len(parts) == 3 else {}
    try:
        runs = list(wandb.Api(timeout=30).runs("/".join(parts[:2]), filters=filters))
        for run in runs:
            _fetch(run, to)
    except (wandb.errors.CommError, ValueError) as error:
        raise UserError(f"can't read wandb:{project}: {error}") from None
    if not any(to.glob("*/recipe.json")):
        raise UserError(
            f"wandb:{project} has {len(runs)} run(s), none with a recipe.json of raykd's: give another project"
        )
    return to


def _fetch(run: Any, to: Path) -> None:
    files = {file.name: file for file in run.files(names=list(FILES))}
    if "recipe.json" not in files:
        return
    folder = to / re.sub(r"[^\w.-]", "-", run.name)
    if folder.exists():  # W&B's names need not be unique
        folder = folder.with_name(f"{folder.name}-{run.id}")
    for name in FILES:
        if name in files:
            files[name].download(root=str(folder), replace=True)
