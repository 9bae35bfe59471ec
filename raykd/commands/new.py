"""raykd new: a recipe for one's own images, written from what is measured on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from raykd.fields import Pixels
from raykd.launch.cluster.signals import at_once
from raykd.recipe.load import parse
from raykd.terminal import Terminal


@dataclass(frozen=True)
class Options:
    to: Annotated[Path, tyro.conf.Positional]
    """File to write, such as mine.py; one that is there is left alone."""
    data: str
    """Folder of images, a table (.csv, .tsv, .parquet), an .npz file, or the name of a data set."""
    student: str
    """Network that is trained and deployed, one of `raykd list models`, such as timm:mobilenetv3_small_050."""
    teacher: str = ""
    """Network that is trained first, such as timm:resnet18, or the directory of a finished run; empty: none."""
    method: str = "kd"
    """One of `raykd list methods`."""
    image_size: Pixels = 0
    """Side in pixels of the images that the networks get; 0: chosen by the images' own."""
    pretrained: bool = False
    """Start the networks from their libraries' weights (`raykd data prepare FILE --download` fetches them)."""
    download: bool = False
    """Download the data set, where its source can."""


def run(arguments: Sequence[str]) -> int:
    """Write the recipe and say what it is; returns the exit status."""
    description = "Write a commented recipe for your own images, which runs as it is."
    default = Options(to=tyro.MISSING, data=tyro.MISSING, student=tyro.MISSING)
    chosen = parse(Options, default, arguments, "raykd new", description)
    from raykd.api.new.choices import Wanted
    from raykd.api.new.write import new_recipe
    from raykd.commands.data import bars, summary

    wanted = Wanted(
        data=chosen.data,
        student=chosen.student,
        teacher=chosen.teacher,
        method=chosen.method,
        image_size=chosen.image_size,
        pretrained=chosen.pretrained,
    )
    console = Terminal()
    with at_once(), bars(console) as progress:
        choices = new_recipe(chosen.to, wanted, progress, chosen.download)
    for line in summary(choices.prepared):
        console.print(line)
    console.print(f"{chosen.to}: images of {choices.image_size} pixels, {choices.epochs} epochs, batches of", end=" ")
    console.print(f"{choices.batch_size}, rate {choices.learning_rate:g}")
    console.print(f"raykd train {chosen.to}")
    return 0
