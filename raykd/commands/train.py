"""raykd train: trains the teachers, then the student, and prints the result."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from raykd import UserError
from raykd.api.starting.start import default_name, started
from raykd.launch.driver.run import default_storage
from raykd.recipe import Recipe
from raykd.recipe.command_line import parse
from raykd.recipe.files.load import Loaded, load


@dataclass(frozen=True)
class Options:
    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    name: str
    """Name of the run; an existing run of that name is resumed."""
    storage: str
    """Folder or URI (s3://, gs://, …) of the runs."""


def options(arguments: Sequence[str], command: str) -> tuple[Loaded, Options]:
    """Parse RECIPE and the overrides of its fields."""
    if not arguments or arguments[0].startswith("-"):
        raise UserError(f"raykd {command} needs a recipe: raykd {command} digits/kd [--field VALUE …]")
    loaded = load(arguments[0])
    default = Options(loaded.recipe, default_name(loaded.path), default_storage())
    program = f"raykd {command} {arguments[0]}"
    return loaded, parse(Options, default, arguments[1:], program, loaded.docstring)


def run(arguments: Sequence[str]) -> int:
    """Train a recipe; returns the exit status."""
    loaded, chosen = options(arguments, "train")
    from raykd.api.starting.train import train_started
    from raykd.commands.summary import summary

    begun = started(loaded, chosen.recipe, chosen.name, chosen.storage)
    summary(begun.display.console, train_started(begun), chosen.name, chosen.storage)
    return 0
