"""The resolved recipe of a run directory."""

from raykd import UserError
from raykd.recipe import Recipe
from raykd.recipe.serial import from_dict, refuse_foreign
from raykd.storage.folder import Folder


def recipe_of(run: Folder, trusted: bool = False) -> Recipe:
    """The resolved recipe of a run directory; raises UserError where there is none.

    trusted: its classes may be imported from anywhere, which runs their modules' code.
    """
    try:
        plain = run.read_json("recipe.json")
    except FileNotFoundError:
        raise UserError(f"{run.place} is no run directory: it has no recipe.json") from None
    if not trusted:
        refuse_foreign(plain, f"{run.place}/recipe.json")
    return from_dict(plain)
