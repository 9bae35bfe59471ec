"""manifest.json: the description of a data set's .beton files, with measurements made while they were written."""

import json
import math
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Interval, MinLen
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from raykd import UserError
from raykd.data.config import Prepared

FILE = "manifest.json"
LIST = Field(strict=False)  # JSON has lists where tuples are wanted
Level = Annotated[float, Interval(ge=0, le=1)]
Deviation = Annotated[float, Interval(gt=0, lt=math.inf)]
Side = Annotated[int, Interval(ge=1, lt=2**16)]
Lines = list[Any]  # text, perhaps with names of files that are not in UTF-8, which a `str` of pydantic may not have


class Model(BaseModel):
    """Base of the models below; unknown fields are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class Split(Model):
    """One of the .beton files."""

    samples: Annotated[int, Interval(ge=1, lt=2**40)]
    unlabelled: Annotated[int, Ge(0)]
    bytes: Annotated[int, Ge(0)]
    sides: Annotated[tuple[Side, Side], LIST]
    mean: Annotated[tuple[Level, Level, Level], LIST]
    std: Annotated[tuple[Deviation, Deviation, Deviation], LIST]
    skipped: Lines


class Manifest(Model):
    """The fields that are read; the others are the settings that the files were written with."""

    classes: Annotated[list[str], MinLen(1)]
    notes: Lines
    train: Split
    test: Split


def read_manifest(folder: Path, settings: dict[str, Any]) -> Prepared:
    """The data set in a folder.

    settings: those that its files must have been written with. Raises UserError if they were written with others, if
    one is missing or has another size, and if the manifest is damaged.
    """
    content = _read(folder / FILE)
    stale = [key for key, value in settings.items() if content.get(key) != value]
    if stale:
        raise UserError(
            f"{folder} was written with other settings ({', '.join(stale)}): delete it and run raykd data prepare again"
        )
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError:
        raise _damaged(folder / FILE) from None
    train, test = manifest.train, manifest.test
    _expect_size(folder / "train.beton", train.bytes)
    _expect_size(folder / "test.beton", test.bytes)
    skipped = [f"left out of {name}: {line}" for name in ("train", "test") for line in getattr(manifest, name).skipped]
    return Prepared(
        train=folder / "train.beton",
        test=folder / "test.beton",
        classes=tuple(manifest.classes),
        train_size=train.samples,
        test_size=test.samples,
        mean=train.mean,
        std=train.std,
        sides=(min(train.sides[0], test.sides[0]), max(train.sides[1], test.sides[1])),
        unlabelled=train.unlabelled,
        identity=folder.name,
        notes=(*map(str, manifest.notes), *skipped),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise _damaged(path) from None
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}; choose another data.root") from None
    if not isinstance(content, dict):
        raise _damaged(path)
    return content


def _damaged(path: Path) -> UserError:
    return UserError(f"{path} is damaged: delete {path.parent} and run raykd data prepare again")


def _expect_size(path: Path, size: int) -> None:
    if not path.exists():
        raise UserError(f"{path} is missing: delete {path.parent} and run raykd data prepare again")
    if path.stat().st_size != size:
        raise UserError(
            f"{path} has {path.stat().st_size} bytes instead of {size} (truncated, or another file): "
            f"delete {path.parent} and run raykd data prepare again"
        )
