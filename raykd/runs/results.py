"""Reads a run's files into validated values; invalid content is a one-line UserError that names it.

All reading of recipe.json, metrics.jsonl, evaluation.json and result.json happens here. Files are untrusted: sizes are
bounded, only regular files are opened, and control characters are removed from text, so that it can be printed.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Ge, Interval, MaxLen, MinLen
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from raykd import UserError
from raykd.output import one_line
from raykd.runs.reading import read_bytes
from raykd.storage.folder import Folder

SMALL, LARGE = 16 * 2**20, 2**30  # maximum bytes: of a JSON file or a line of metrics; of metrics.jsonl

Share = Annotated[float, Interval(ge=0, le=1)]
Count = Annotated[int, Interval(ge=0, lt=2**63)]
Seconds = Annotated[float, Interval(ge=0, lt=math.inf)]
Text = Annotated[str, MaxLen(4096), AfterValidator(one_line)]
Note = float | list[float] | list[list[float]]


T = TypeVar("T", bound=BaseModel)


class Model(BaseModel):
    """Base of all models: files of newer versions may have more fields."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class Agreement(Model):
    """Agreement of a network with one teacher: fraction of equal top-1 classes, mean KL(teacher ‖ network)."""

    top1: Share
    kl: float


class Accuracy(Model):
    """Metrics of one network on a split. Custom metrics are in `model_extra`."""

    model_config = ConfigDict(extra="allow")

    top1: Share
    top5: Share = math.nan
    loss: float = math.nan
    ece: float = math.nan
    agreement: dict[Text, Agreement] = {}

    def metric(self, name: str) -> float:
        """A metric by its name; nan if the run lacks it."""
        value = getattr(self, name, math.nan)
        return float(value) if isinstance(value, (int, float)) else math.nan


class Line(Model):
    """One line of metrics.jsonl: means since the line before, and the evaluation at its end."""

    epoch: Annotated[float, Interval(gt=-math.inf, lt=math.inf)]
    step: Count = 0
    loss: float = math.nan
    terms: dict[Text, float] = {}
    notes: dict[Text, Note] = {}
    measures: dict[Text, float] = {}
    evaluation: dict[Text, Accuracy] = {}
    selection: float = math.nan  # the value that selects the best evaluation; NaN: the deployed network's top-1


class FullAccuracy(Accuracy):
    """Metrics of the last evaluation: `calibration` has (images, mean confidence, accuracy) of each bin."""

    per_class: list[Share] = []
    per_class_count: list[Count] = []
    calibration: list[tuple[Count, Share, Share]] = []


class TeacherAccuracy(Accuracy):
    parameters: Count = 0
    path: Text = ""


class Evaluation(Model):
    """evaluation.json: the last evaluation in full."""

    split: Literal["test", "validation"]
    class_names: list[Text]
    networks: Annotated[dict[Text, FullAccuracy], MinLen(1)]
    teachers: dict[Text, TeacherAccuracy] = {}
    ensemble: dict[Text, Accuracy] = {}
    flops: Annotated[float, Ge(0)] = math.nan

    @model_validator(mode="after")
    def _classes_agree(self) -> "Evaluation":
        for name, network in self.networks.items():
            for values in (network.per_class, network.per_class_count):
                if values and len(values) != len(self.class_names):
                    raise ValueError(f"{name} has {len(values)} classes, class_names {len(self.class_names)}")
        return self


class Result(Model):
    """result.json: the result of a run."""

    name: Text
    status: Literal["finished", "failed", "stopped", "running"]
    method: Text = ""
    epochs: float = math.nan
    seed: int = 0
    workers: Count
    restarts: Count = 0
    top1: Share = math.nan
    top1_best: Share = math.nan
    seconds: Seconds
    images_per_second: Seconds = 0.0
    parameters: Count = 0
    git: Text = ""
    wandb_url: Text = ""


def _class_path(value: str) -> str:
    if not re.fullmatch(r"[\w.]+:\w[\w.]*", value):
        raise ValueError("not of the form module:Class")
    return value


class _Section(Model):
    kind: Annotated[Text, Field(alias="class"), AfterValidator(_class_path)]


class _Data(Model):
    source: _Section


class _Student(Model):
    name: Text


class _Recipe(Model):
    """The fields that every recipe has."""

    method: _Section
    student: _Student
    data: _Data
    epochs: Annotated[float, Interval(gt=0, lt=math.inf)]
    seed: int


def read_recipe(run: Folder) -> dict[str, Any]:
    """recipe.json as plain values, with its text unchanged."""
    content = read_object(run, "recipe.json")
    _checked(_Recipe, content, f"{run}/recipe.json")
    return content


def read_result(run: Folder) -> Result | None:
    """result.json; None if it does not exist: the run has not ended."""
    return _optional(run, "result.json", Result)


def read_evaluation(run: Folder) -> Evaluation | None:
    """evaluation.json; None if it does not exist: the run has not ended, or ended without one."""
    return _optional(run, "evaluation.json", Evaluation)


def read_metrics(run: Folder) -> list[Line]:
    """Lines of metrics.jsonl by epoch; of two lines of one epoch the later; a truncated last line is skipped."""
    if not run.exists("metrics.jsonl"):
        return []
    lines = {line.epoch: line for line in _lines(run)}
    return [lines[epoch] for epoch in sorted(lines)]


def _lines(run: Folder) -> Iterator[Line]:
    texts = read_bytes(run, "metrics.jsonl", LARGE).splitlines()
    for number, text in enumerate(texts, 1):
        if len(text) > SMALL:
            raise UserError(f"{run}/metrics.jsonl, line {number}: more than {SMALL:,} bytes")
        try:
            yield Line.model_validate_json(text)
        except ValidationError as error:
            if number == len(texts) and not _is_json(text):
                return  # the process died while writing
            raise UserError(f"{run}/metrics.jsonl, line {number}: {_first(error)}") from None


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def read_checked(run: Folder, name: str, kind: type[T]) -> T:
    """A JSON file as its model; raises a one-line UserError that names what is invalid."""
    return _checked(kind, read_bytes(run, name, SMALL), f"{run}/{name}")


def _optional(run: Folder, name: str, kind: type[T]) -> T | None:
    if not run.exists(name):
        return None
    return read_checked(run, name, kind)


def read_object(run: Folder, name: str) -> dict[str, Any]:
    """A JSON object from a file, with its text unchanged; raises UserError if the file has none."""
    if not run.exists(name):
        raise UserError(f"{run} is not a run directory: it has no {name}")
    try:
        content = json.loads(read_bytes(run, name, SMALL))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{run}/{name} is not valid JSON: {one_line(str(error))[:200]}") from None
    if not isinstance(content, dict):
        raise UserError(f"{run}/{name}: not a JSON object")
    return content


def _checked(kind: type[T], content: dict[str, Any] | bytes, origin: str) -> T:
    try:
        if isinstance(content, bytes):
            return kind.model_validate_json(content)
        return kind.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{origin}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    """The first validation error, as "networks.student.top1: Input should be …"."""
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return one_line(f"{place}: {first['msg']}" if place else first["msg"])[:300]
