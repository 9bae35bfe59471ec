"""raykd new: writes a recipe for the user's images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from raykd.api.new.options import NewOptions
from raykd.launch.cluster.signals import at_once
from raykd.recipe.command_line import parse
from raykd.terminal import Terminal


@dataclass(frozen=True, kw_only=True)
class Options(NewOptions):
    to: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """File to write, such as mine.py; an existing file is not overwritten."""
    download: bool = False
    """Download the data set if its source supports it."""


def run(arguments: Sequence[str]) -> int:
    """Write the recipe and print a summary; returns the exit status."""
    description = "Write a commented recipe for your own images, which runs as it is."
    default = Options(to=tyro.MISSING, data=tyro.MISSING, student=tyro.MISSING)
    chosen = parse(Options, default, arguments, "raykd new", description)
    from raykd.api.new.write import new_recipe
    from raykd.commands.data import bars, summary

    console = Terminal()
    with at_once(), bars(console) as progress:
        choices = new_recipe(chosen.to, chosen, progress, chosen.download)
    for line in summary(choices.prepared):
        console.print(line)
    settings = f"{choices.epochs} epochs, batch size {choices.batch_size}, learning rate {choices.learning_rate:g}"
    console.print(f"{chosen.to} written: image size {choices.image_size}, {settings}")
    console.print(f"to train: raykd train {chosen.to}")
    return 0
