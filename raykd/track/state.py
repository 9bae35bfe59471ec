"""wandb.json: the state of a run's W&B run in its run directory."""

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from raykd import UserError
from raykd.output import without_credentials
from raykd.runs.reading import read_local
from raykd.storage.local_copy import STUDENT

LARGEST = 2**24

# Valid values of the fields of wandb.json, which is untrusted.
KINDS: dict[str, Callable[[Any], bool]] = {
    "id": lambda value: isinstance(value, str) and re.fullmatch(r"[\w-]{0,128}", value, re.ASCII) is not None,
    "last_step": lambda value: type(value) is int,
    "parts": lambda value: isinstance(value, list) and all(map(_is_part, value)),
    "artifacts": lambda value: isinstance(value, list) and all(map(_is_artifact, value)),
    "teachers": lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
} | dict.fromkeys(("name", "project", "entity", "url"), lambda value: isinstance(value, str))


class Notebook:
    """wandb.json of a run directory: the run's id, its parts and which of them the server has, the last logged step."""

    def __init__(self, directory: Path, run_id: str = "", wish: Mapping[str, Any] | None = None):
        self.directory, self.path = directory, directory / "wandb.json"
        self.id, self.name, self.project, self.entity, self.url = run_id, "", "", "", ""
        self.last_step = -1
        self.parts: list[dict[str, Any]] = []
        self.artifacts: list[dict[str, Any]] = []
        self.teachers: list[str] = []
        if wish:
            self.project, self.entity = wish["project"], wish["entity"]
        if self.path.exists():
            known = checked(self.path)
            # If the recipe names another project, it is another run: the user decides where runs are uploaded.
            if not wish or known.get("project") == wish["project"]:
                self.__dict__.update(known | ({"entity": wish["entity"]} if wish else {}))

    def write(self) -> None:
        """Write in place with padding, so that recording a step costs microseconds; JSON may end with blanks."""
        keys = ("id", "name", "project", "entity", "url", "last_step", "parts", "artifacts", "teachers")
        text = json.dumps(without_credentials({key: getattr(self, key) for key in keys})).encode()
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            os.pwrite(file, text.ljust(os.fstat(file).st_size), 0)
        finally:
            os.close(file)

    def pending(self) -> list[dict[str, Any]]:
        """Parts that are not completely uploaded."""
        return [part for part in self.parts if not part["uploaded"]]


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
    """{"folder": W&B's folder of the part, "uploaded": …}."""
    if not isinstance(value, dict) or value.keys() != {"folder", "uploaded"} or type(value["uploaded"]) is not bool:
        return False
    return isinstance(value["folder"], str) and bool(re.fullmatch(r"\w[\w-]*", value["folder"]))


def _is_artifact(value: Any) -> bool:
    """{"file": the run's own network, "metadata": …}."""
    return isinstance(value, dict) and value.get("file") == STUDENT and isinstance(value.get("metadata"), dict)
