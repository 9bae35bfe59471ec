"""wandb.json: the state of a run's W&B run in its run directory."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from raykd import UserError
from raykd.output import without_credentials
from raykd.runs.results.bounded import read_local
from raykd.storage import atomic

FILE = "wandb.json"
MOST_BYTES = 2**24


class Artifact(BaseModel):
    """A network that is not uploaded yet: the run's own."""

    file: Literal["student.safetensors"]
    metadata: dict[str, Any]


class WandbState(BaseModel):
    """A run's identity on the server, and whether the server has all of it. The file is untrusted."""

    model_config = ConfigDict(strict=True)

    directory: Annotated[Path, Field(exclude=True)] = Path()
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,128}$")] = ""
    name: str = ""
    project: str = ""
    entity: str = ""
    url: str = ""
    uploaded: bool = False
    last_step: int = -1  # in W&B's own log, of earlier versions
    artifacts: list[Artifact] = []
    teachers: list[str] = []

    def write(self) -> None:
        """Write wandb.json atomically; raises OSError."""
        atomic.write(self.directory / FILE, json.dumps(without_credentials(self.model_dump())).encode())


def read_state(directory: Path, settings: Mapping[str, Any] | None = None) -> WandbState:
    """The state in a run directory, or a new one; raises UserError if raykd can't have written the file.

    settings: the recipe's `wandb`; without them, those in the file are used. If the recipe names another project, it is
    another run: the user decides where runs are uploaded.
    """
    path, state = directory / FILE, WandbState()
    if path.exists():
        try:
            state = WandbState.model_validate_json(read_local(path, MOST_BYTES))
        except ValidationError:
            raise UserError(f"{path} was changed or damaged: remove it, or restore it from a copy") from None
    if settings:
        state = state if state.project == settings["project"] else WandbState(project=settings["project"])
        state.entity = settings["entity"]
    state.directory = directory
    return state
