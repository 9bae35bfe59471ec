"""A run directory: its files, and when a run may be resumed under its name."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from raykd import UserError
from raykd.output import masked_code, with_credentials_of, without_credentials
from raykd.recipe import Recipe
from raykd.recipe.files.sources import source_bytes
from raykd.recipe.fingerprint import differences, essence
from raykd.recipe.serial import to_dict
from raykd.runs.recipe import recipe_of
from raykd.storage.folder import Folder
from raykd.storage.local_copy import STUDENT

# Files written by `open_run` and `claim`.
OPENED = ("recipe.json", "teachers.json", "teachers-form.json", "source", "attempts.json", "data.json")


def open_run(run: Folder, recipe: Recipe, sources: Mapping[str, str], trained: Sequence[str]) -> None:
    """Create the directory with its recipe and source, or check that an existing one is of the same recipe."""
    run.create()
    if run.exists("recipe.json"):
        refuse_other(run, recipe)
    run.write("recipe.json", json.dumps(without_credentials(to_dict(recipe)), indent=1))
    run.write("teachers.json", json.dumps(without_credentials(trained)))
    write_sources(run, sources)


def write_sources(folder: Folder, sources: Mapping[str, str]) -> None:
    """Write the recipe's source and the user's modules to `source`, see `stored_source`."""
    for name, text in sources.items():
        folder.write(f"source/{name}", stored_source(text))


def stored_source(text: str) -> bytes:
    """A module's text as a run's directory has it, without passwords in URIs."""
    return source_bytes(masked_code(text))


def trained_teachers(run: Folder) -> list[str]:
    """Run directories of the teachers that were trained for the run's recipe, in its order.

    If they no longer exist because the storage was moved or renamed: those of the same name above the run.
    Raises UserError if teachers.json is damaged.
    """
    paths = run.read_json("teachers.json") if run.exists("teachers.json") else []
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise UserError(f"{run}/teachers.json was changed or damaged: restore it from a copy")
    return [present_path(run, path) for path in paths]


def present_path(run: Folder, path: str) -> str:
    """A teacher's run directory as a run recorded it; if it no longer exists, that of the same name above the run."""
    if run.local is None or "://" in path or Path(path).exists():
        return str(with_credentials_of(run.location, path))
    name = Path(*Path(path).parts[-2:])
    return next((str(above / name) for above in run.local.parents if (above / name).exists()), path)


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
        raise UserError(f"{run} contains a run of another length: {differing[0]}. {how_to_train_on(run)}")
    raise UserError(
        f"{run} contains a run of another recipe: {'; '.join(differing[:4])}. "
        "Give this one another --name, or remove that directory"
    )


def how_to_train_on(run: Folder) -> str:
    """Advice for extending a finished run, whose schedule was made for its own length."""
    return (
        f"A run's length is part of its schedule; to train its student further, give another --name, the additional "
        f"--epochs, and --student.weights {run}/{STUDENT}"
    )
