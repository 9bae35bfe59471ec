"""The resolved recipe of a run directory, and the user's modules that it needs, if they are trusted."""

import importlib.util

from raykd import UserError
from raykd.output import with_credentials_of
from raykd.recipe import Recipe
from raykd.recipe.files.sources import materialize
from raykd.recipe.serial import from_dict, refuse_foreign
from raykd.runs.results.read import read_recipe
from raykd.storage.atomic import scratch
from raykd.storage.folder import Folder


def open_finished(location: str, trust_source: bool = False) -> tuple[Folder, Recipe]:
    """Folder and recipe of a run directory; raises UserError if it is not one.

    trust_source: import the user's modules in the directory, which runs their code.
    """
    folder = Folder(location)
    if not folder.exists("recipe.json"):
        raise UserError(f"{folder} is not a run directory: it has no recipe.json (`raykd list runs` shows the runs)")
    if trust_source and folder.exists("source"):
        materialize(sources_of(folder), scratch())
    return folder, recipe_of(folder, trusted=trust_source)


def recipe_of(run: Folder, trusted: bool = False) -> Recipe:
    """The resolved recipe of a run directory; raises UserError if there is none.

    trusted: its classes may be imported from any module, which runs the module's code.
    """
    plain = with_credentials_of(run.location, read_recipe(run))
    if not trusted:
        refuse_foreign(plain, f"{run}/recipe.json")
    recipe: Recipe = from_dict(plain)
    return recipe


def sources_of(folder: Folder, below: str = "source") -> dict[str, str]:
    """The recipe's source files in a run directory, by path below `source`."""
    sources = {}
    for name in folder.names(below):
        path = f"{below}/{name}"
        if name.endswith(".py"):
            sources[path.removeprefix("source/")] = importlib.util.decode_source(folder.read(path))
        else:
            sources |= sources_of(folder, path)
    return sources
