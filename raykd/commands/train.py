"""raykd train: teachers first, then the run, then what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from raykd import UserError
from raykd.recipe import Recipe
from raykd.recipe.load import Loaded, load, parse
from raykd.terminal import Terminal


@dataclass(frozen=True)
class Options:
    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    name: str
    """Name of the run; the same name again goes on where it stopped."""
    storage: str
    """Folder or URI (s3://, gs://, …) under which runs stand."""


def options(arguments: Sequence[str], command: str) -> tuple[Loaded, Options]:
    """RECIPE and what follows it, read against the recipe's own fields."""
    from raykd.launch.driver.run import default_storage, lasting

    if not arguments or arguments[0].startswith("-"):
        raise UserError(f"raykd {command} needs a recipe: raykd {command} digits/kd [--field VALUE …]")
    loaded = load(arguments[0])
    default = Options(loaded.recipe, default_name(loaded.path), default_storage())
    program = f"raykd {command} {arguments[0]}"
    chosen = parse(Options, default, arguments[1:], program, loaded.docstring)
    lasting(chosen.storage)
    return loaded, chosen


def default_name(path: Path) -> str:
    """A recipe's folder and file: recipes/digits/kd.py is digits/kd."""
    return "/".join(filter(None, (path.parent.name, path.stem)))


def run(arguments: Sequence[str]) -> int:
    """Train a recipe; returns the exit status."""
    loaded, chosen = options(arguments, "train")
    from raykd.launch.cluster.signals import Interrupted
    from raykd.launch.driver import run as job
    from raykd.launch.driver.display import Display
    from raykd.launch.teachers import train as ensemble

    display = Display(Terminal())
    job.say_storage(chosen.storage, display)
    try:
        job.check(chosen.recipe)
        trained = ensemble.ensure(loaded, chosen.recipe, chosen.storage, display)
        finished = job.train(loaded, chosen.recipe, chosen.name, chosen.storage, trained, display)
    except Interrupted as stop:
        return 128 + stop.number
    from raykd.commands.summary import summary

    summary(display.console, finished, chosen.name, chosen.storage)
    return 0
