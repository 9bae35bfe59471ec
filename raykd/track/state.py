"""What a run directory knows of its W&B run."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Notebook:
    """wandb.json of a run directory: the run's id, its parts and which of them the server has, the last logged step."""

    def __init__(self, directory: Path, run_id: str = "", wish: Mapping[str, Any] | None = None):
        self.directory, self.path = directory, directory / "wandb.json"
        self.id, self.name, self.project, self.entity, self.url = run_id, "", "", "", ""
        self.last_step, self.parts, self.artifacts, self.teachers = -1, [], [], []
        if wish:
            self.project, self.entity = wish["project"], wish["entity"]
        if self.path.exists():
            self.__dict__.update(json.loads(self.path.read_text(encoding="utf-8")))

    def write(self) -> None:
        """In place and padded, so that a note of a step costs microseconds; blanks after JSON are JSON."""
        keys = ("id", "name", "project", "entity", "url", "last_step", "parts", "artifacts", "teachers")
        text = json.dumps({key: getattr(self, key) for key in keys}).encode()
        with open(self.path, "r+b" if self.path.exists() else "wb") as file:
            size = file.seek(0, os.SEEK_END)
            os.pwrite(file.fileno(), text.ljust(size), 0)

    def pending(self) -> list[dict[str, Any]]:
        """Parts that the server does not wholly have."""
        return [part for part in self.parts if not part["uploaded"]]
