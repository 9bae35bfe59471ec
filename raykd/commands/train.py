"""raykd train: trains the teachers, then the student, and prints the result."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import tyro

from raykd import UserError
from raykd.api.starting.plan import default_name, display_in
from raykd.launch.driver.run import default_storage
from raykd.launch.driver.run_plan import RunPlan
from raykd.recipe import Recipe
from raykd.recipe.command_line import parse
from raykd.recipe.files.load import Loaded, load
from raykd.recipe.shared import shared_with_teachers


@dataclass(frozen=True)
class Options:
    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    name: str
    """Name of the run; an existing run of that name is resumed."""
    storage: str
    """Folder or URI (s3://, gs://, …) of the runs."""


def options(
    arguments: Sequence[str], command: str, kind: type = Options, example: str = "digits/kd", **more: Any
) -> tuple[Loaded, Any]:
    """Parse RECIPE and a command's options, overrides of the recipe's fields among them.

    kind: the options' dataclass. more: defaults of those besides recipe, name and storage.
    """
    if not arguments or arguments[0].startswith("-"):
        raise UserError(f"raykd {command} needs a recipe: raykd {command} {example} [--field VALUE …]")
    loaded = load(arguments[0])
    default = kind(loaded.recipe, default_name(loaded.path), default_storage(), **more)
    chosen = parse(kind, default, arguments[1:], f"raykd {command} {arguments[0]}", loaded.docstring)
    return loaded, replace(chosen, recipe=shared_with_teachers(loaded.recipe, chosen.recipe))


def plan_of(loaded: Loaded, chosen: Any) -> RunPlan:
    """The plan of a run from parsed options."""
    display = display_in(chosen.storage)
    return RunPlan(loaded=loaded, recipe=chosen.recipe, name=chosen.name, storage=chosen.storage, display=display)


def run(arguments: Sequence[str]) -> int:
    """Train a recipe; returns the exit status."""
    loaded, chosen = options(arguments, "train")
    from raykd.api.starting.train import train_planned
    from raykd.commands.summary import summary

    plan = plan_of(loaded, chosen)
    summary(plan.display.console, train_planned(plan), plan.name, plan.storage)
    return 0
