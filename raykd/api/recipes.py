"""Recipes of files and those that ship with raykd, from Python."""

from pathlib import Path

from raykd.recipe import Recipe
from raykd.recipe.load import load


def load_recipe(recipe: str | Path) -> Recipe:
    """The `recipe` of a Python file, which runs the file, or of one that ships with raykd, as "digits/kd"."""
    return load(recipe).recipe
