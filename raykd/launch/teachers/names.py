"""Which teachers a recipe trains first, and the names of their runs."""

import dataclasses
import re

from raykd.recipe import Recipe, Train
from raykd.recipe.fingerprint import fingerprint
from raykd.runs import directory
from raykd.storage.folder import Folder


def teacher_recipes(recipe: Recipe) -> list[Recipe]:
    """The recipe of every teacher that is trained first, in order."""
    recipes = []
    for source in recipe.teachers.sources:
        if isinstance(source, Train):
            recipes += [dataclasses.replace(source.recipe, seed=seed) for seed in source.seeds]
    return recipes


def run_name(recipe: Recipe) -> str:
    """A teacher's run name: its network, and the hash of everything that determines it."""
    return f"teachers/{recipe.student.name.replace(':', '-').replace('/', '-')}-{fingerprint(recipe)}"


def run_in(storage: str, recipe: Recipe) -> str:
    """`run_name`, or the name of a run of the same recipe by a version with other fingerprints."""
    name, teachers = run_name(recipe), Folder(storage) / "teachers"
    stem = name.removeprefix("teachers/").removesuffix(f"-{fingerprint(recipe)}")
    if (Folder(storage) / name).exists("recipe.json"):
        return name
    for other in teachers.names():
        if re.fullmatch(re.escape(stem) + "-[0-9a-f]{12}", other) and directory.is_of(teachers / other, recipe):
            return f"teachers/{other}"
    return name
