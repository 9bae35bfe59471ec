"""wandb.json: the state of a run's W&B run in its run directory."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from raykd import UserError
from raykd.output import without_credentials
from raykd.runs.results.bounded import read_local
from raykd.storage import atomic
from raykd.storage.local_copy import STUDENT

LARGEST = 2**24

# Valid values of the fields of wandb.json, which is untrusted.
KINDS: dict[str, Callable[[Any], bool]] = {
    "id": lambda value: isinstance(value, str) and re.fullmatch(r"[\w-]{0,128}", value, re.ASCII) is not None,
    "uploaded": lambda value: type(value) is bool,
    "artifacts": lambda value: isinstance(value, list) and all(map(_is_artifact, value)),
    "teachers": lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
    # Of versions that uploaded W&B's own log: the last step in it, and its parts.
    "last_step": lambda value: type(value) is int,
    "parts": lambda value: isinstance(value, list) and all(map(_is_part, value)),
} | dict.fromkeys(("name", "project", "entity", "url"), lambda value: isinstance(value, str))


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
    """The fields of a wandb.json; raises UserError if raykd can't have written it."""
    try:
        content = json.loads(read_local(path, LARGEST))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or not all(KINDS[key](content[key]) for key in KINDS.keys() & content.keys()):
        raise UserError(f"{path} was changed or damaged: remove it, or restore it from a copy")
    return {key: content[key] for key in KINDS.keys() & content.keys()}


def _is_part(value: Any) -> bool:
    """{"uploaded": …, …}."""
    return isinstance(value, dict) and type(value.get("uploaded")) is bool


def _is_artifact(value: Any) -> bool:
    """{"file": the run's own network, "metadata": …}."""
    return isinstance(value, dict) and value.get("file") == STUDENT and isinstance(value.get("metadata"), dict)
