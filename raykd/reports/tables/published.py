"""Reads and validates published figures from CSV files."""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from raykd import UserError
from raykd.output import one_line
from raykd.runs.results.bounded import read_local

COLUMNS = "paper table dataset teacher student method metric kind mean std n source note".split()
REPORTERS = ("own", "copied", "copied or re-run", "re-run", "restated", "summary", "derived")
MOST_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class PublishedFigure:
    """A figure from a paper. Accuracies are fractions; errors are converted to accuracies."""

    paper: str
    table: str
    dataset: str
    teacher: str
    student: str
    method: str
    metric: Literal["top1", "top5"]
    value: float
    deviation: float | None  # None where the source gives none
    n: int | None  # runs averaged; None where the source does not say
    reporter: str  # one of REPORTERS, followed by "?" if it is a guess; "" if the file does not say
    epoch: Literal["last", "best", ""]  # which epoch was evaluated; "" where the source does not say
    source: str
    note: str


def read_published(path: Path) -> list[PublishedFigure]:
    """Figures of a CSV file with the columns of `COLUMNS`.

    A note may begin with the kind of its reporter: "[own] 5 runs", "[copied] from CRD", "[own?]". Raises a one-line
    UserError that names the file, the row and the column.
    """
    try:
        text = read_local(path, MOST_BYTES).decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a CSV file in UTF-8: {error}") from None
    head = [name.strip() for name in rows[0]] if rows else []
    if sorted(head) != sorted(COLUMNS):
        wrong = ", ".join([*(f"no {name}" for name in COLUMNS if name not in head), *_surplus(head)])
        raise UserError(f"{path} must have the columns {','.join(COLUMNS)}: {wrong}")
    return [_figure(dict(zip(head, row)), len(row), f"{path}, row {i}") for i, row in enumerate(rows[1:], 2) if row]


def _surplus(head: list[str]) -> list[str]:
    unknown = [f"unknown {one_line(name)[:40]!r}" for name in head if name not in COLUMNS]
    return unknown + [f"{name} twice" for name in COLUMNS if head.count(name) > 1]


def _figure(row: dict[str, str], width: int, where: str) -> PublishedFigure:
    if width != len(COLUMNS):
        raise UserError(f"{where}: {width} cells, not {len(COLUMNS)}")
    row = {name: one_line(value.strip()) for name, value in row.items()}
    if row["metric"] not in ("top1", "top5"):
        raise UserError(f"{where}: metric {row['metric']!r} must be top1 or top5")
    if row["kind"] not in ("accuracy", "error"):
        raise UserError(f"{where}: kind {row['kind']!r} must be accuracy or error")
    percent = _number(row, "mean", where)
    value = percent / 100 if row["kind"] == "accuracy" else 1 - percent / 100
    texts = {name: row[name] for name in COLUMNS if name not in ("metric", "kind", "mean", "std", "n")}
    return PublishedFigure(
        **texts,
        metric="top1" if row["metric"] == "top1" else "top5",
        value=value,
        deviation=_number(row, "std", where) / 100 if row["std"] else None,
        n=_runs(row["n"], where) if row["n"] else None,
        reporter=_reporter(row["note"], where),
        epoch=_epoch(row),
    )


def _number(row: dict[str, str], column: str, where: str) -> float:
    """A percentage of the row."""
    try:
        value = float(row[column])
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise UserError(f"{where}: {column} {row[column]!r} must be a percentage from 0 to 100")
    return value


def _runs(text: str, where: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,5}", text):
        raise UserError(f"{where}: n {text!r} must be a number of runs")
    return int(text)


def _reporter(note: str, where: str) -> str:
    opened = re.match(r"\[([^\]]*)\]", note)
    if opened is None:
        return ""
    reporter = opened[1].replace("copied/re-run", "copied or re-run")
    if reporter.removesuffix("?") not in REPORTERS:
        raise UserError(f"{where}: note begins with [{opened[1]}], which is not one of {', '.join(REPORTERS)}")
    return reporter


def _epoch(row: dict[str, str]) -> Literal["last", "best", ""]:
    text = f"{row['method']} {row['note']}".casefold().replace("last or best epoch", "")
    epochs = set(re.findall(r"\b(last|best)[ -]epoch", text))
    if len(epochs) != 1:
        return ""
    return "last" if "last" in epochs else "best"
