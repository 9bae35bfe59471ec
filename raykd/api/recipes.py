"""Loading of recipes from Python."""

from pathlib import Path

from raykd.recipe import Recipe
from raykd.recipe.files.load import load
from raykd.recipe.validate import checked


@checked
def load_recipe(recipe: str | Path) -> Recipe:
    """Load a recipe from a Python file, which is executed, or by name, if it ships with raykd, such as "digits/kd".

    Raises UserError if there is no such file, if it fails to import, or if it defines no valid `recipe`.
    """
    return load(recipe).recipe
