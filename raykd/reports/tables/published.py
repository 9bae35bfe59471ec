"""Reads and validates published figures from CSV files."""

import re
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Interval
from pydantic import AfterValidator, BeforeValidator, ConfigDict, ValidationError

from raykd import UserError
from raykd.reports.tables.csv_input import read_csv
from raykd.runs.results.models import Model, Share, Text

# Who reports a figure, with the initials for narrow tables and the meaning.
REPORTERS = {
    "own": ("o", "the paper's own"),
    "copied": ("c", "copied from another paper"),
    "copied or re-run": ("c/r", "copied or re-run"),
    "re-run": ("r", "re-run by somebody else"),
    "restated": ("q", "quoted by somebody else"),
    "summary": ("s", "from a summary"),
    "derived": ("d", "derived"),
}
MOST_BYTES = 64 * 2**20
KIND = re.compile(r"\[([^\]]*)\]")


def _known(reporter: str) -> str:
    if reporter and reporter.removesuffix("?") not in REPORTERS:
        raise ValueError(f"reporter {reporter!r} is not one of {', '.join(REPORTERS)}")
    return reporter


def _note(text: str) -> str:
    _known(reporter_of(text))
    return text


def reporter_of(note: str) -> str:
    """The reporter at the beginning of a note: "own?" of "[own?] 5 runs"; "" if the note does not say."""
    kind = KIND.match(note)
    return kind[1].replace("copied/re-run", "copied or re-run") if kind else ""


Percent = Annotated[float, Interval(ge=0, le=100)]
IfGiven = BeforeValidator(lambda text: text or None)
Epoch = Literal["last", "best", ""]


class Quoted(Model):
    """A published figure for a cell of a study: top-1 as a fraction."""

    row: Text
    column: Text
    value: Share
    deviation: Share | None = None
    n: Annotated[int, Interval(ge=1)] | None = None  # runs averaged; None where the source does not say
    reporter: Annotated[Text, AfterValidator(_known)] = ""  # one of REPORTERS, followed by "?" if it is a guess
    epoch: Epoch = ""  # which epoch was evaluated; "" where the source does not say
    source: Text


class PublishedFigure(Model):
    """A figure from a paper, as a row of a CSV file has it."""

    model_config = ConfigDict(strict=False)

    paper: Text
    table: Text
    dataset: Text
    teacher: Text
    student: Text
    method: Text
    metric: Literal["top1", "top5"]
    kind: Literal["accuracy", "error"]
    mean: Percent
    std: Annotated[Percent | None, IfGiven]
    n: Annotated[Annotated[int, Interval(ge=1, le=999_999)] | None, IfGiven]
    source: Text
    note: Annotated[Text, AfterValidator(_note)]

    @property
    def epoch(self) -> Epoch:
        """The evaluated epoch, if the method's name or the note says it."""
        text = f"{self.method} {self.note}".casefold().replace("last or best epoch", "")
        epochs = set(re.findall(r"\b(last|best)[ -]epoch", text))
        return ("last" if "last" in epochs else "best") if len(epochs) == 1 else ""

    def quoted(self, row: str, column: str) -> Quoted:
        """The figure for a cell; an error is converted to an accuracy."""
        return Quoted(
            row=row,
            column=column,
            value=self.mean / 100 if self.kind == "accuracy" else 1 - self.mean / 100,
            deviation=None if self.std is None else self.std / 100,
            n=self.n,
            reporter=reporter_of(self.note),
            epoch=self.epoch,
            source=", ".join(filter(None, (self.paper, self.table))),
        )


def read_published(path: Path) -> list[PublishedFigure]:
    """Figures of a CSV file with the columns of `PublishedFigure`.

    A note may begin with the kind of its reporter: "[own] 5 runs", "[copied] from CRD", "[own?]". Raises a one-line
    UserError that names the file, the row and the column.
    """
    columns = list(PublishedFigure.model_fields)
    head, rows = read_csv(path, MOST_BYTES)
    if sorted(head) != sorted(columns):
        wrong = [f"no {name}" for name in columns if name not in head]
        wrong += [f"unknown {name[:40]!r}" for name in head if name not in columns]
        wrong += [f"{name} twice" for name in columns if head.count(name) > 1]
        raise UserError(f"{path} must have the columns {','.join(columns)}: {', '.join(wrong)}")
    return [_figure(row, f"{path}, row {number}") for number, row in rows.items()]


def _figure(row: dict[str, str], where: str) -> PublishedFigure:
    try:
        return PublishedFigure.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        column = str(first["loc"][0])
        raise UserError(f"{where}: {column} {row[column][:80]!r}: {first['msg']}") from None
