"""raykd data: prepares what runs read; `prepare` writes a data set's .beton files."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, make_dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text
from tyro import MISSING_NONPROP

from raykd import UserError
from raykd.data.config import Data, Encoding, Prepared, Source
from raykd.data.storage.header import open_header
from raykd.data.storage.prepare import Tick, prepare
from raykd.launch.cluster.signals import at_once
from raykd.launch.driver.lines import NARROW, bar_width
from raykd.models.weights.downloads import download
from raykd.recipe import Recipe
from raykd.recipe.command_line import parse
from raykd.recipe.files.load import load
from raykd.recipe.files.shipped import path_of
from raykd.recipe.files.sources import networks_of
from raykd.terminal import Terminal

if TYPE_CHECKING:
    from rich.progress import TaskID


@dataclass(frozen=True, kw_only=True)
class Options:
    to: str = ""
    """Folder to write to; empty: the recipe's data.root."""
    download: bool = False
    """Download missing data, if the source supports it, and the weights that the recipe names by URL or takes from
    libraries."""
    skip_corrupt: bool = False
    """Skip corrupt images instead of stopping at the first."""


@dataclass(frozen=True, kw_only=True)
class OfRecipe(Options):
    data: Data
    """The recipe's data."""


@dataclass(frozen=True, kw_only=True)
class OfSource(Options):
    encoding: Encoding = Encoding()
    """How the images are stored."""


def run(arguments: Sequence[str]) -> int:
    """Write the files of a recipe's data set, or of a source given by name; returns the exit status."""
    if arguments and arguments[0] in ("teach", "clean"):
        return import_module(f"raykd.commands.{arguments[0]}").run(arguments[1:])
    if len(arguments) < 2 or arguments[0] != "prepare":
        raise UserError(
            "raykd data prepare RECIPE|SOURCE|FOLDER [--to DIR] [--download] [--skip-corrupt] [--field VALUE …], "
            "or raykd data teach RECIPE [--field VALUE …], or raykd data clean [--keep-gb N]"
        )
    recipe = _is_recipe(arguments[1])
    chosen, data = _of_recipe(arguments) if recipe else _of_source(arguments)
    console = Terminal()
    if chosen.download and recipe:
        _download_weights(load(arguments[1]).recipe, data.root, console.print)
    with at_once(), bars(console) as progress:
        done = prepare(data, download=chosen.download, skip_corrupt=chosen.skip_corrupt, progress=progress)
    for line in summary(done):
        console.print(line)
    return 0


def _download_weights(recipe: Recipe, root: str, notify: Callable[[str], None]) -> None:
    """Fetch the weights that a recipe's networks name: those by URL, and by their libraries those of the libraries."""
    from raykd.models import create_network, published

    for network in networks_of(recipe):
        download(network, root, notify)
        if network.weights == "pretrained":
            classes = published(network.name).num_classes
            notify(f"{network.name}: the weights of {network.name.partition(':')[0]}, for {classes:,} classes")
            create_network(network, classes, recipe.data.image_size)


def summary(done: Prepared) -> Iterator[str]:
    """A description of prepared files, as lines."""
    parts = (("train", done.train, done.train_size), ("test", done.test, done.test_size))
    for split, path, size in ((name, path, size) for name, path, size in parts if path is not None):
        without = f", {done.unlabelled:,} of them without a label" if split == "train" and done.unlabelled else ""
        on_disk = path.stat().st_blocks * 512  # less than the file's length, which includes a hole before the images
        yield f"{split}: {size:,} images{without}, {on_disk / 1e6:,.1f} MB, {path}"
    shown = ", ".join(done.classes[:10]) + (", …" if len(done.classes) > 10 else "")
    yield f"{len(done.classes)} classes: {shown}"
    yield from _counts(done)
    if done.sides:
        yield f"sides of {done.side_range} pixels"
    if done.mean and done.std:
        mean, std = (" ".join(f"{value:.4f}" for value in values) for values in (done.mean, done.std))
        yield f"training images: mean {mean}, std {std}"
    yield from done.notes


def _counts(done: Prepared) -> Iterator[str]:
    """The number of images of the smallest and the largest class."""
    for split, path in (("train", done.train), ("test", done.test)):
        if path is None:
            continue
        labels = open_header(path, done).labels
        counts = np.bincount(labels[labels >= 0], minlength=len(done.classes))
        least, most = int(counts.argmin()), int(counts.argmax())
        smallest, largest = (f"{counts[i]:,} ({done.classes[i]})" for i in (least, most))
        several = f"{smallest} to {largest}" if counts[least] < counts[most] else f"{counts[least]:,}"
        yield f"{split}: {several} images per class"


def _of_recipe(arguments: Sequence[str]) -> tuple[Options, Data]:
    default = OfRecipe(data=load(arguments[1]).recipe.data)
    chosen = parse(OfRecipe, default, arguments[2:], "raykd data prepare", "Write the files of a recipe's data set.")
    return chosen, replace(chosen.data, root=chosen.to or chosen.data.root)


def _is_recipe(word: str) -> bool:
    """Whether a word, by its form, names a recipe, and not a source, a folder, a file or a pattern."""
    if word.endswith(".py") or path_of(word):
        return True
    return "/" in word and not (Path(word).expanduser().exists() or set("*?[") & set(word))


def _of_source(arguments: Sequence[str]) -> tuple[Options, Data]:
    from raykd.api.new.source import has_files, source_of
    from raykd.data.sources import ALL

    word = arguments[1]
    by_name: dict[str, type[Source]] = {source.name: source for source in ALL}
    if word in by_name:
        source, default = by_name[word], dict[str, Source]()
    elif has_files(word):
        given = source_of(word)
        source, default = type(given), {"source": given}
    else:
        raise UserError(f"no recipe and no source named {word!r}; sources are {', '.join(by_name)}")
    kind = make_dataclass("OfThisSource", [("source", source, field())], bases=(OfSource,), frozen=True, kw_only=True)
    options = kind(**default) if default else MISSING_NONPROP
    chosen: Any = parse(kind, options, arguments[2:], "raykd data prepare", source.description)
    unused: dict[str, Any] = {"image_size": 1}  # needed for reading, not for writing
    return chosen, Data(source=chosen.source, encoding=chosen.encoding, root=chosen.to or Data.root, **unused)


class Rate(ProgressColumn):
    """Images per second, and in a terminal that is not narrow the estimated size of the file."""

    def __init__(self, width: int):
        super().__init__()
        self.narrow = width < NARROW

    def render(self, task: Task) -> Text:
        speed = f"{task.finished_speed or task.speed or 0:,.0f} images/s"
        size = task.fields["size"] * (task.total or 0) / max(task.completed, 1)
        return Text(speed if self.narrow else f"{speed}, {size / 1e6:,.1f} MB in all", no_wrap=True)


@contextmanager
def bars(console: Terminal) -> Iterator[Tick]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=bar_width(console.width)),
        MofNCompleteColumn(),
        Rate(console.width),
        TimeRemainingColumn(),
    )
    bars = Progress(*columns, console=console)
    tasks: dict[str, TaskID] = {}

    def tick(split: str, total: int, size: int) -> None:
        if not tasks:
            bars.start()
        if split not in tasks:
            tasks[split] = bars.add_task(split, total=total, size=0)
        bars.update(tasks[split], advance=1, size=bars.tasks[tasks[split]].fields["size"] + size)

    try:
        yield tick
    finally:
        if tasks:
            bars.stop()
