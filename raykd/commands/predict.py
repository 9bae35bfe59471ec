"""raykd predict: classifies image files by a run's deployed network."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from raykd import UserError
from raykd.fields import PositiveInt
from raykd.output import complain
from raykd.recipe.command_line import parse
from raykd.runs.recipe import open_finished
from raykd.terminal import Terminal


@dataclass(frozen=True)
class Options:
    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run directory."""
    paths: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PATH …")]
    """Image files, or folders of image files."""
    top: PositiveInt = 5
    """Number of classes to print for each image, the most probable first."""
    json: bool = False
    """Print one JSON object on each line: {"path": …, "predictions": [{"class": …, "probability": …}, …]}."""
    batch_size: PositiveInt = 64
    """Images at once."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device; auto: a GPU if available, else the CPU."""
    trust_source: bool = False
    """Import the user's modules that are stored in the run directory, which runs their code."""


def run(arguments: Sequence[str]) -> int:
    """Print the classes of each image; returns the exit status: 2 if an image could not be read."""
    description = "Classify image files with a run's deployed network and its evaluation's preprocessing."
    chosen = parse(Options, Options(run=tyro.MISSING, paths=()), arguments, "raykd predict", description)
    from raykd.deploy.predictor import Predictor, image_files, in_batches

    folder, recipe = open_finished(chosen.run, chosen.trust_source)
    files = image_files(chosen.paths)
    if not files:
        raise UserError("raykd predict needs images: raykd predict RUN photo.jpg folder/")
    predictor = Predictor(folder, recipe, chosen.device, chosen.batch_size)
    terminal, unread = Terminal(), 0
    for part in in_batches(files, chosen.batch_size):
        readable, pixels = [], []
        for path in part:
            try:
                pixels.append(predictor.read(path))
                readable.append(path)
            except UserError as error:
                complain(str(error))
                unread += 1
        for path, row in zip(readable, predictor.classify(pixels) if pixels else ()):
            terminal.print(_line(str(path), predictor.named(row, chosen.top), chosen.json), soft_wrap=chosen.json)
    return 2 if unread else 0


def _line(path: str, predictions: Sequence, as_json: bool) -> str:
    if as_json:
        listed = [{"class": name, "probability": probability} for name, probability in predictions]
        return json.dumps({"path": path, "predictions": listed})
    return f"{path}: " + ", ".join(f"{name} {100 * probability:.2f} %" for name, probability in predictions)
