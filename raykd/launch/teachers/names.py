"""Which teachers a recipe has trained first, and where their runs stand."""

import dataclasses

from raykd.recipe import Recipe, Train
from raykd.recipe.fingerprint import fingerprint


def wanted(recipe: Recipe) -> list[Recipe]:
    """The recipe of every teacher that is to be trained, in order."""
    found = []
    for source in recipe.teachers.sources:
        if isinstance(source, Train):
            found += [dataclasses.replace(source.recipe, seed=seed) for seed in source.seeds]
    return found


def run_name(recipe: Recipe) -> str:
    """Where a teacher stands below the storage: named by its network and by the hash of what determines it."""
    return f"teachers/{recipe.student.name.replace(':', '-').replace('/', '-')}-{fingerprint(recipe)}"
