"""The resolved recipe of a run directory."""

from raykd.output import with_credentials_of
from raykd.recipe import Recipe
from raykd.recipe.serial import from_dict, refuse_foreign
from raykd.runs.results import read_recipe
from raykd.storage.folder import Folder


def recipe_of(run: Folder, trusted: bool = False) -> Recipe:
    """The resolved recipe of a run directory; raises UserError if there is none.

    trusted: its classes may be imported from any module, which runs the module's code.
    """
    plain = with_credentials_of(run.place, read_recipe(run))
    if not trusted:
        refuse_foreign(plain, f"{run}/recipe.json")
    recipe: Recipe = from_dict(plain)
    return recipe
