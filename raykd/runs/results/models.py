"""The content of a run's files: the type and range of each field. Control characters are removed from text."""

import math
import re
from typing import Annotated, Literal

from annotated_types import Ge, Interval, MaxLen, MinLen
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from raykd.output import one_line

Share = Annotated[float, Interval(ge=0, le=1)]
Count = Annotated[int, Interval(ge=0, lt=2**63)]
Seconds = Annotated[float, Interval(ge=0, lt=math.inf)]
Text = Annotated[str, MaxLen(4096), AfterValidator(one_line)]
Note = float | list[float] | list[list[float]]


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
    """Metrics of a frozen teacher on the run's evaluation split; `path` is the name of its run or weights."""

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


class RecipeFields(Model):
    """The fields that every recipe has."""

    method: _Section
    student: _Student
    data: _Data
    epochs: Annotated[float, Interval(gt=0, lt=math.inf)]
    seed: int
