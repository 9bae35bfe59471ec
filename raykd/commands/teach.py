"""raykd data teach: fills the caches of a recipe's teachers before its training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from raykd import UserError
from raykd.recipe import Recipe
from raykd.recipe.command_line import parse
from raykd.recipe.files.load import load
from raykd.recipe.shared import shared_with_teachers
from raykd.terminal import Terminal


@dataclass(frozen=True)
class Options:
    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    storage: str
    """Folder or URI of the runs, including trained teachers."""


def run(arguments: Sequence[str]) -> int:
    """Fill the caches for RECIPE with its overrides; returns the exit status."""
    from raykd.launch.driver.run import default_storage, lasting

    if not arguments or arguments[0].startswith("-"):
        raise UserError("raykd data teach RECIPE --teachers.cache float16 [--field VALUE …] [--storage DIR]")
    loaded = load(arguments[0])
    program = f"raykd data teach {arguments[0]}"
    chosen = parse(Options, Options(loaded.recipe, default_storage()), arguments[1:], program, loaded.docstring)
    lasting(chosen.storage)
    from raykd.api.starting.plan import default_name
    from raykd.launch.driver.display import Display
    from raykd.launch.driver.run_plan import RunPlan
    from raykd.launch.teachers.fill_cache import teach

    display, name = Display(Terminal()), default_name(loaded.path)
    recipe = shared_with_teachers(loaded.recipe, chosen.recipe)
    plan = RunPlan(loaded=loaded, recipe=recipe, name=name, storage=chosen.storage, display=display)
    images = teach(plan)
    display.console.print(f"cached the teacher outputs of {images:,} images; training reads them")
    return 0
