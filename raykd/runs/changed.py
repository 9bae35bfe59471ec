"""What has changed since a run was trained: the user's modules, the method's code, the data."""

from raykd.recipe import Recipe
from raykd.recipe.files.load import Loaded
from raykd.recipe.fingerprint import comparable
from raykd.runs.checkpoints.stamps import stamps
from raykd.runs.data import is_of_data
from raykd.runs.directory import stored_source
from raykd.storage.folder import Folder


def changed_code(run: Folder, loaded: Loaded, recipe: Recipe, fingerprint: str) -> str:
    """A line for the user if an existing run, which is resumed, was trained by other code, else ""."""
    names = changed_modules(run, loaded, recipe, fingerprint)
    if not names:
        return ""
    return (
        f"{', '.join(names)} changed since {run} was last trained; training continues from its checkpoint with the new "
        "code (to start again, give another --name)"
    )


def outdated(run: Folder, loaded: Loaded, recipe: Recipe, fingerprint: str, identity: str) -> str:
    """What has changed since a finished run was trained, as text; empty: nothing that is known here.

    fingerprint: the recipe's. identity: of its data, see `identity_of`.
    """
    data = ["the data"] if has_other_data(run, identity) else []
    return " and ".join(changed_modules(run, loaded, recipe, fingerprint) + data)


def has_other_data(run: Folder, identity: str) -> bool:
    """Whether the run was trained on other data than those of the identity; False if that is empty, so unknown."""
    return bool(identity) and not is_of_data(run, identity)


def changed_modules(run: Folder, loaded: Loaded, recipe: Recipe, fingerprint: str) -> list[str]:
    """Names of the modules that differ from those that an existing run was last trained with, sorted.

    Compares the user's modules with those in the directory and, by the newest checkpoint's fingerprint, the source of
    the method; fingerprint: the recipe's. The recipe's own file is compared by its fields, in `refuse_other`.
    """
    checkpoints, others = stamps(run), {name for name in loaded.sources if not loaded.is_own_file(name)}
    names = sorted(name for name in others if _differs(run, name, loaded.sources[name]))
    if not names and checkpoints and not comparable(checkpoints[-1].fingerprint):
        return ["raykd"]
    if not names and checkpoints and checkpoints[-1].fingerprint != fingerprint:
        return [f"{type(recipe.method).__module__} (or a teacher's method)"]
    return names


def _differs(run: Folder, name: str, text: str) -> bool:
    return run.exists(f"source/{name}") and run.read(f"source/{name}") != stored_source(text)
