"""The deployed student as a file: weights with the network's own parameter names, and a description of its input."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import safetensors
from annotated_types import Interval, MinLen
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import save as save_bytes
from torch import nn

from raykd import UserError
from raykd.models import create
from raykd.models.config import with_tuples
from raykd.models.staged import Staged
from raykd.recipe import Recipe
from raykd.runs.results.read import first_of
from raykd.storage.atomic import temporary_folder
from raykd.storage.folder import Folder
from raykd.storage.local_copy import STUDENT as FILE

Finite = Annotated[float, Interval(gt=-math.inf, lt=math.inf)]
Deviation = Annotated[float, Interval(gt=0, lt=math.inf)]


@dataclass(frozen=True)
class About:
    """The description of a network in its weights file, under "raykd" in the header's metadata."""

    network: str
    classes: Annotated[tuple[str, ...], MinLen(1)]
    image_size: Annotated[int, Interval(ge=1, lt=2**16)]
    mean: tuple[Finite, Finite, Finite]
    std: tuple[Deviation, Deviation, Deviation]
    options: dict[str, Any] = field(default_factory=dict)
    stages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", with_tuples(self.options))

    def text(self) -> str:
        """The text for the header."""
        return json.dumps(asdict(self))


def write_student(run: Folder, network: nn.Module, recipe: Recipe, classes: tuple[str, ...]) -> None:
    """Write a run's student.safetensors."""
    data = recipe.data
    images = (classes, data.image_size, *data.statistics)
    if isinstance(network, Staged):
        plain, about = network.model, About(network.name, *images, dict(network.options), network.stage_modules)
    else:
        plain, about = network, About(type(network).__name__, *images)
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in plain.state_dict().items()}
    run.write(FILE, save_bytes(tensors, metadata={"raykd": about.text()}))


def read_student(run: Folder) -> tuple[Staged, About]:
    """The deployed network of a run; raises UserError if the file is missing, damaged or not a single network."""
    try:
        content = run.read(FILE)
    except FileNotFoundError:
        raise UserError(f"{run} has no {FILE}, which only finished runs have: train it to its end") from None
    with temporary_folder() as folder:
        path = run.local / FILE if run.local is not None else Path(folder) / FILE
        if run.local is None:
            path.write_bytes(content)
        about = about_of(path)
        built = (about.network, len(about.classes), about.image_size)
        network = create(*built, weights=str(path), options=about.options, stages=about.stages)
    return network, about


def about_of(path: Path) -> About:
    """The description in a student.safetensors; raises UserError for a foreign or damaged file."""
    about = about_if_any(path)
    if about is None:
        raise UserError(f"{path} is not a student that raykd wrote, or it is damaged")
    return about


def about_if_any(path: Path) -> About | None:
    """As `about_of`, but None for a file without such a description; raises UserError if the file is missing."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get("raykd")
    except FileNotFoundError:
        raise UserError(f"{path}: no such weights file") from None
    except (safetensors.SafetensorError, OSError):
        return None
    try:
        return None if text is None else TypeAdapter(About).validate_json(text, strict=True)
    except ValidationError as error:
        raise UserError(f"{path}, the description of its network: {first_of(error)}") from None
