"""Lists the runs, searches and studies below a storage, one line each, with their state so far."""

import time
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from raykd import UserError
from raykd.output import printable
from raykd.recipe.labels import labels
from raykd.runs.attempts import attempts_of
from raykd.runs.results.read import read_metrics, read_object, read_recipe, read_result
from raykd.storage.folder import Folder
from raykd.storage.lease import in_use

TITLES = ("name", "status", "what", "student", "data", "seed", "epochs", "top-1", "begun")
INSIDE = {"checkpoints", "source", "wandb"}
MARKS = {"recipe.json": "run", "search.json": "search", "study.json": "study"}
# Of values that no run of raykd has: a time that no calendar knows, text for a number.
DAMAGE = (UserError, LookupError, TypeError, ValueError, ArithmeticError, OSError)


class Listed(NamedTuple):
    """One line; the columns are `TITLES`."""

    name: str
    status: str
    what: str
    student: str = ""
    data: str = ""
    seed: str = ""
    epochs: str = ""
    top1: str = ""
    begun: str = ""


def listed(storage: Folder) -> Iterator[Listed]:
    """All runs, searches and studies below a storage by name, without the single trials of searches.

    Raises UserError if the storage doesn't exist.
    """
    if not storage.exists():
        raise UserError(f"{storage} does not exist: give the folder or URI of a storage")
    for name, kind in _marked(storage):
        folder = storage / name if name != "." else storage
        try:
            yield _run(folder, name) if kind == "run" else _many(folder, name, kind)
        except DAMAGE as error:
            yield Listed(name, "can't be read", printable(str(error))[:120])


def _marked(storage: Folder) -> list[tuple[str, str]]:
    """Directory and kind, in order, without those inside a search; a run's own folders hold no runs."""
    files = [file for file in map(PurePosixPath, storage.files()) if not INSIDE & set(file.parts)]
    kinds = {str(file.parent): MARKS[file.name] for file in files if file.name in MARKS}
    inside = [f"{name}/" for name, kind in kinds.items() if kind == "search"]
    return sorted((name, kind) for name, kind in kinds.items() if not any(name.startswith(above) for above in inside))


def _run(folder: Folder, name: str) -> Listed:
    recipe, result, lines = read_recipe(folder), read_result(folder), read_metrics(folder)
    about, top1 = labels(recipe), [next(iter(line.evaluation.values())).top1 for line in lines if line.evaluation]
    done, epochs = (lines[-1].epoch if lines else 0.0), recipe["epochs"]
    status = result.status if result else "running" if in_use(folder) else "unfinished"
    length = f"{epochs:g}" if status == "finished" else f"{done:.0f} of {epochs:g}"
    shown = result.top1 if result and result.status == "finished" else top1[-1] if top1 else None
    return Listed(
        name,
        status,
        about.method,
        about.student,
        about.data,
        str(about.seed),
        length,
        "" if shown is None else f"{100 * shown:.2f} %",
        _begun(folder),
    )


def _many(folder: Folder, name: str, kind: str) -> Listed:
    about: dict[str, Any] = read_object(folder, f"{kind}.json")
    states = about.get("states")
    counts = ", ".join(f"{count} {state}" for state, count in states.items()) if isinstance(states, dict) else ""
    status = "running" if in_use(folder) else str(about.get("status", ""))
    best = about.get("test")
    top1 = f"{100 * best['top1']:.2f} %" if isinstance(best, dict) else ""
    return Listed(name, printable(status), printable(f"{kind} {counts}".strip()), top1=top1)


def _begun(folder: Folder) -> str:
    """When workers first started, in this machine's time zone."""
    first = next(iter(attempts_of(folder)), {}).get("started")
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(first)) if isinstance(first, (int, float)) else ""
