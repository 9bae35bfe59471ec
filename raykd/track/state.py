"""wandb.json: the state of a run's W&B run in its run directory."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from raykd import UserError
from raykd.output import without_credentials
from raykd.runs.results.bounded import read_local
from raykd.runs.results.models import Model
from raykd.storage import atomic

LARGEST = 2**24


class Artifact(Model):
    """A network that is not uploaded yet: the run's own."""

    file: Literal["student.safetensors"]
    metadata: dict[str, Any]


class Part(Model):
    """A part of W&B's own log, which earlier versions uploaded."""

    uploaded: bool


class Stored(Model):
    """The content of wandb.json, which is untrusted."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,128}$")] = ""
    name: str = ""
    project: str = ""
    entity: str = ""
    url: str = ""
    uploaded: bool = False
    last_step: int = -1  # in W&B's own log, of earlier versions
    artifacts: list[Artifact] = []
    teachers: list[str] = []
    parts: list[Part] = []  # of earlier versions


class WandbState:
    """wandb.json of a run directory: the run's identity on the server, and whether the server has all of it."""

    def __init__(self, directory: Path, settings: Mapping[str, Any] | None = None):
        """settings: the recipe's `wandb`; without them, those in the file are used."""
        self.directory, self.path = directory, directory / "wandb.json"
        self.id, self.name, self.project, self.entity, self.url = "", "", "", "", ""
        self.uploaded, self.last_step = False, -1
        self.artifacts: list[dict[str, Any]] = []
        self.teachers: list[str] = []
        if settings:
            self.project, self.entity = settings["project"], settings["entity"]
        if self.path.exists():
            known = checked(self.path)
            # If the recipe names another project, it is another run: the user decides where runs are uploaded.
            if not settings or known.get("project") == settings["project"]:
                parts = known.pop("parts", [])
                earlier = {"uploaded": all(part["uploaded"] for part in parts)} if parts else {}
                self.__dict__.update(earlier | known | ({"entity": settings["entity"]} if settings else {}))

    def write(self) -> None:
        """Write wandb.json atomically; raises OSError."""
        keys = ("id", "name", "project", "entity", "url", "uploaded", "last_step", "artifacts", "teachers")
        atomic.write(self.path, json.dumps(without_credentials({key: getattr(self, key) for key in keys})).encode())


def checked(path: Path) -> dict[str, Any]:
    """The fields that a wandb.json has; raises UserError if raykd can't have written it."""
    try:
        return Stored.model_validate_json(read_local(path, LARGEST)).model_dump(exclude_unset=True)
    except ValidationError:
        raise UserError(f"{path} was changed or damaged: remove it, or restore it from a copy") from None
