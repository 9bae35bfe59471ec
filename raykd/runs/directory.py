"""A run directory: its files, who writes them, and when a run may be resumed under its name."""

import errno
import json
import secrets
import time
from pathlib import Path
from typing import Any

from raykd import UserError
from raykd.data.config import Prepared
from raykd.output import masked_code, with_credentials_of, without_credentials
from raykd.recipe import Recipe
from raykd.recipe.fingerprint import comparable, differences, essence, fingerprint
from raykd.recipe.load import Loaded
from raykd.recipe.serial import to_dict
from raykd.recipe.sources import source_bytes
from raykd.runs.recipe import recipe_of
from raykd.runs.stamps import stamps
from raykd.storage.folder import Folder
from raykd.storage.local_copy import STUDENT

# Files written by `open_run` and `claim`.
OPENED = ("recipe.json", "teachers.json", "teachers-form.json", "source", "attempts.json", "data.json")


def open_run(run: Folder, loaded: Loaded, recipe: Recipe, trained: list[str]) -> str:
    """Create the directory with its recipe and source, or check that an existing one is of the same recipe.

    Returns a line for the user if an existing one was made by other code, else "".
    """
    run.create()
    line = ""
    if run.exists("recipe.json"):
        refuse_other(run, recipe)
        line = _changed(run, loaded, recipe)
    run.write("recipe.json", json.dumps(without_credentials(to_dict(recipe)), indent=1))
    run.write("teachers.json", json.dumps(without_credentials(trained)))
    write_sources(run, loaded)
    return line


def write_sources(folder: Folder, loaded: Loaded) -> None:
    """Write the recipe's source and the user's modules to `source`, without passwords in URIs."""
    for name, text in loaded.sources.items():
        folder.write(f"source/{name}", _without_passwords(text))


def _without_passwords(text: str) -> bytes:
    return source_bytes(masked_code(text))


def trained_teachers(run: Folder) -> list[str]:
    """Run directories of the teachers that were trained for the run's recipe, in its order.

    If they no longer exist, as the storage was moved or renamed: those of the same name above the run.
    """
    places = run.read_json("teachers.json") if run.exists("teachers.json") else []
    if not isinstance(places, list) or not all(isinstance(place, str) for place in places):
        raise UserError(f"{run}/teachers.json was changed or damaged: restore it from a copy")
    return [where_it_is_now(run, place) for place in places]


def where_it_is_now(run: Folder, place: str) -> str:
    """A teacher's run directory as a run recorded it; if it no longer exists, that of the same name above the run."""
    if run.local is None or "://" in place or Path(place).exists():
        return str(with_credentials_of(run.place, place))
    name = Path(*Path(place).parts[-2:])
    return next((str(above / name) for above in run.local.parents if (above / name).exists()), place)


def is_of(run: Folder, recipe: Recipe) -> bool:
    """Whether the existing run is of this recipe; False also if it can't be read."""
    try:
        return not differences(essence(recipe_of(run)), essence(recipe))
    except (UserError, FileNotFoundError):
        return False


def refuse_other(run: Folder, recipe: Recipe) -> None:
    """Raise UserError, naming the fields that differ, if the existing run is of another recipe."""
    try:
        stored = recipe_of(run)
    except UserError as error:
        raise UserError(f"can't continue the run of that name: {error}; or give another --name") from None
    differing = differences(essence(stored), essence(recipe))
    if not differing:
        return
    if all(line.startswith("epochs (") for line in differing):
        raise UserError(f"{run} holds a run of another length: {differing[0]} (there / here). {how_to_train_on(run)}")
    raise UserError(
        f"{run} holds a run of another recipe (there / here): {'; '.join(differing[:4])}. "
        "Give this one another --name, or remove that directory"
    )


def how_to_train_on(run: Folder) -> str:
    """Advice for extending a finished run, whose schedule was made for its own length."""
    return (
        f"A run's length is part of its schedule; to train its student on, give another --name, --epochs for what is "
        f"to be added, and --student.weights {run}/{STUDENT}"
    )


def _changed(run: Folder, loaded: Loaded, recipe: Recipe) -> str:
    """Compares the user's modules and, by the newest checkpoint's fingerprint, the source of the method.

    The recipe's own file is compared by its fields, in `refuse_other`.
    """
    checkpoints, own = stamps(run), str(loaded.path)
    names = [name for name, text in loaded.sources.items() if not own.endswith(name) and _differs(run, name, text)]
    if not names and checkpoints and not comparable(checkpoints[-1].fingerprint):
        names = ["raykd"]
    elif not names and checkpoints and checkpoints[-1].fingerprint != fingerprint(recipe):
        names = [f"{type(recipe.method).__module__} (or a teacher's method)"]
    if not names:
        return ""
    return (
        f"{', '.join(sorted(names))} changed since {run} was last trained: what is there stands, and training "
        "goes on with the code as it is now; another --name begins anew"
    )


def _differs(run: Folder, name: str, text: str) -> bool:
    return run.exists(f"source/{name}") and run.read(f"source/{name}") != _without_passwords(text)


class Superseded(RuntimeError):
    """A later attempt has started in this run directory, so this one must not write to it any more."""


def expect_there(run: Folder) -> None:
    """Raise FileNotFoundError if the directory is not visible: a lost mount leaves an empty folder."""
    if not run.exists("recipe.json"):
        raise FileNotFoundError(errno.ENOENT, "the run's directory is gone", run.place)


def claim(run: Folder, workers: int) -> str:
    """Record that workers start or restart, before they read anything; returns the attempt's token."""
    expect_there(run)
    attempts, checkpoints = attempts_of(run), stamps(run)
    step = checkpoints[-1].step if checkpoints else 0  # the newest checkpoint; a damaged one is skipped later
    token = secrets.token_hex(8)
    attempts.append({"token": token, "started": time.time(), "workers": workers, "step": step})
    run.write("attempts.json", json.dumps(attempts))
    return token


def other_data(run: Folder, prepared: Prepared) -> str:
    """A message if the run was trained on other data than these, else ""."""
    stored = run.read_json("data.json") if run.exists("data.json") else {"identity": prepared.identity}
    if not isinstance(stored, dict) or stored.get("identity") == prepared.identity:
        return ""
    was, now = (f"{x} training images of {c} classes" for x, c in (_shown(stored), _shown(about_data(prepared))))
    return f"the data have changed since this run began: {was} then, {now} now, or other ones"


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


def attempts_of(run: Folder) -> list[dict[str, Any]]:
    """One record for each time that workers started on the run."""
    attempts = run.read_json("attempts.json") if run.exists("attempts.json") else []
    if not isinstance(attempts, list) or not all(isinstance(one, dict) and "token" in one for one in attempts):
        raise UserError(f"{run}/attempts.json was changed or damaged: remove it, or restore it from a copy")
    return attempts


def expect_mine(run: Folder, token: str) -> None:
    """Raise Superseded if a later attempt than the token's has started, FileNotFoundError if storage is unavailable."""
    expect_there(run)
    if attempts_of(run)[-1:] and attempts_of(run)[-1]["token"] != token:
        raise Superseded(f"another process has taken {run} over, so this one stops")


def lines(run: Folder) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, without a last one that a crash truncated."""
    if not run.exists("metrics.jsonl"):
        return []
    content = []
    for text in run.read("metrics.jsonl").decode(errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            break
        if not isinstance(line, dict) or not isinstance(line.get("step"), int):
            break
        content.append(line)
    return content


class MetricsLog:
    """metrics.jsonl: held in memory, written in the background; the next write repairs a failed one."""

    def __init__(self, run: Folder, step: int):
        """Lines after `step` are dropped, as they will be written again."""
        self.run = run
        self.lines = [line for line in lines(run) if line["step"] <= step]
        self._written, self._sound = 0, False  # the file holds exactly these lines

    def add(self, line: dict[str, Any]) -> None:
        self.lines.append(line)

    def flush(self) -> None:
        """Write pending lines; raises OSError."""
        lines = list(self.lines)
        if self._sound:
            self._sound = False
            for line in lines[self._written :]:
                self.run.append("metrics.jsonl", json.dumps(line))
        else:
            self.run.write("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        self._written, self._sound = len(lines), True
