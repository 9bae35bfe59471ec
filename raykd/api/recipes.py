"""Loading of recipes from Python."""

from pathlib import Path

from raykd.recipe import Recipe
from raykd.recipe.files.load import load
from raykd.recipe.validate import expect


def load_recipe(recipe: str | Path) -> Recipe:
    """The `recipe` of a Python file, which is run, or a recipe that ships with raykd, by name, e.g. "digits/kd"."""
    expect(recipe=(recipe, str | Path))
    return load(recipe).recipe
