"""data.json: the data that a run was begun with, which it must be resumed with."""

import json
from typing import Any

from raykd import UserError
from raykd.data.config import Prepared
from raykd.storage.folder import Folder


def other_data(run: Folder, prepared: Prepared) -> str:
    """A message if the run was trained on other data than these, else ""."""
    if is_of_data(run, prepared.identity):
        return ""
    stored = run.read_json("data.json")
    was, now = (f"{x} training images of {c} classes" for x, c in (_shown(stored), _shown(about_data(prepared))))
    return f"the data has changed since this run started: {was} then, {now} now, or other images"


def is_of_data(run: Folder, identity: str) -> bool:
    """Whether the run was trained on the data of that identity; True if it has no record of its data."""
    stored = run.read_json("data.json") if run.exists("data.json") else None
    # Version 0.1.0 did not record the code of a user's own source, which is a part of the identity's.
    return not isinstance(stored, dict) or {*str(stored.get("identity")).split("-")} <= {*identity.split("-")}


def about_data(prepared: Prepared) -> dict[str, Any]:
    """The content of data.json."""
    about = {"identity": prepared.identity, "train": prepared.train_size, "test": prepared.test_size}
    return about | {"classes": list(prepared.classes)}


def _shown(about: dict[str, Any]) -> tuple[Any, int]:
    classes = about.get("classes")
    return about.get("train"), len(classes) if isinstance(classes, list) else 0


def expect_data(run: Folder, prepared: Prepared) -> None:
    """Record which data the run reads; raises UserError if it started with other data."""
    changed = other_data(run, prepared)
    if changed:
        raise UserError(f"{changed}; give a new run another --name, or restore the data")
    if not run.exists("data.json"):
        run.write("data.json", json.dumps(about_data(prepared), indent=1))
