"""A table of methods (rows) on several settings (columns): mean and deviation over seeds, with tests.

In each column the best row is marked, and the rows that are not significantly worse, by Welch's test against the best
with Holm's correction over the column. Over all columns, rows are compared by their average ranks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from raykd import UserError
from raykd.reports.tables.statistics import (
    SIGNIFICANCE,
    Gain,
    Ranking,
    Spread,
    compared_with_best,
    gain,
    rank_rows,
    spread,
)
from raykd.reports.tables.study import Quoted

Mark = Literal["best", "tied", "worse", ""]  # tied: not significantly worse than the best; "": can't be tested


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One finished run at its place in the table. Accuracies are fractions."""

    row: str
    column: str
    seed: int
    accuracy: float  # top-1 at the last epoch
    best: float  # top-1 at the best epoch
    teacher: float | None = None  # top-1 of its best teacher
    hours: float = np.nan  # device-hours


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A missing run, and the reason."""

    row: str
    column: str
    seed: int
    status: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class TableCell:
    """The statistics of one row in one column."""

    accuracy: Spread
    best: Spread
    hours: Spread
    mark: Mark
    p: float  # of Welch's test against the column's best, adjusted by Holm; nan for the best itself and if untested
    gain: Gain | None  # over the baseline; None for the baseline itself, and if it has no run
    published: tuple[Quoted, ...]

    def difference(self, figure: Quoted) -> float:
        """Own mean minus a published one, of the same epoch: best with best, else last."""
        return (self.best if figure.epoch == "best" else self.accuracy).mean - figure.value


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of rows and columns with its statistics."""

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: dict[tuple[str, str], TableCell]  # of the places that have a finished run
    teachers: dict[str, Spread]  # by column
    baseline: str  # a row, "" for none
    ranking: Ranking | None  # of `ranked` over the columns that all of them have
    ranked: tuple[str, ...]
    missing: tuple[Missing, ...] = field(default=())

    @property
    def runs(self) -> list[int]:
        """The numbers of runs that cells have, rising."""
        return sorted({cell.accuracy.n for cell in self.cells.values()})

    def average_rank(self, row: str) -> float:
        """The average rank of a row, 1 the best; nan if the row is not ranked."""
        return self.ranking.average[self.ranked.index(row)] if self.ranking and row in self.ranked else np.nan

    def mean_over_columns(self, row: str) -> tuple[float, float] | None:
        """Device-hours and accuracy of a ranked row, means over the columns that all ranked rows have."""
        cells = [self.cells[row, column] for column in self.columns if (row, column) in self.cells]
        if row not in self.ranked or not cells:
            return None
        return float(np.mean([c.hours.mean for c in cells])), float(np.mean([c.accuracy.mean for c in cells]))


def build_table(
    cells: Iterable[Cell],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    baseline: str = "",
    published: Mapping[tuple[str, str], Sequence[Quoted]] | None = None,
    missing: Iterable[Missing] = (),
) -> Table:
    """The table of finished runs; `published` and `missing` are shown with it.

    Raises UserError if two runs have the same row, column and seed, or if a run or the baseline is not in the table.
    """
    if baseline and baseline not in rows:
        raise UserError(f"the baseline {baseline!r} must be one of the rows {', '.join(rows)}")
    lists = _grouped(cells, rows, columns)
    tested: dict[tuple[str, str], TableCell] = {}
    for column in columns:
        tested |= _column(column, rows, lists, baseline, published or {})
    ranked, ranking = _ranking(rows, columns, tested)
    return Table(
        title=title,
        rows=tuple(rows),
        columns=tuple(columns),
        cells=tested,
        teachers=_teachers(columns, lists),
        baseline=baseline,
        ranking=ranking,
        ranked=ranked,
        missing=tuple(missing),
    )


def _grouped(cells: Iterable[Cell], rows: Sequence[str], columns: Sequence[str]) -> dict[tuple[str, str], list[Cell]]:
    """The runs of each row and column."""
    groups: dict[tuple[str, str], dict[int, Cell]] = {}
    for cell in cells:
        group = groups.setdefault((cell.row, cell.column), {})
        if cell.row not in rows or cell.column not in columns:
            raise UserError(f"{cell.row}, {cell.column} is not a cell of the table")
        if cell.seed in group:
            raise UserError(f"two runs of {cell.row}, {cell.column}, seed {cell.seed}: remove one of them")
        group[cell.seed] = cell
    return {place: list(group.values()) for place, group in groups.items()}


def _column(
    column: str,
    rows: Sequence[str],
    lists: Mapping[tuple[str, str], list[Cell]],
    baseline: str,
    published: Mapping[tuple[str, str], Sequence[Quoted]],
) -> dict[tuple[str, str], TableCell]:
    present = [row for row in rows if (row, column) in lists]
    if not present:
        return {}
    values = {row: [cell.accuracy for cell in lists[row, column]] for row in present}
    best, p = compared_with_best([values[row] for row in present])
    return {
        (row, column): TableCell(
            accuracy=spread(values[row]),
            best=spread(cell.best for cell in lists[row, column]),
            hours=spread(cell.hours for cell in lists[row, column]),
            mark=mark(bool(np.mean(values[row]) == np.mean(values[present[best]])), p[i]),
            p=p[i],
            gain=gain(values[row], values[baseline]) if baseline in values and row != baseline else None,
            published=tuple(published.get((row, column), ())),
        )
        for i, row in enumerate(present)
    }


def mark(is_best: bool, p: float) -> Mark:
    """The mark of a row from its p value against the best; NaN: not tested."""
    if is_best:
        return "best"
    if np.isnan(p):
        return ""
    return "worse" if p < SIGNIFICANCE else "tied"


def _teachers(columns: Sequence[str], lists: Mapping[tuple[str, str], list[Cell]]) -> dict[str, Spread]:
    """Top-1 of the teachers of a column's runs; a teacher of several runs counts once."""
    by_column: dict[str, set[float]] = {}
    for (_, column), cells in lists.items():
        by_column.setdefault(column, set()).update(cell.teacher for cell in cells if cell.teacher is not None)
    return {column: spread(sorted(by_column[column])) for column in columns if by_column.get(column)}


def _ranking(
    rows: Sequence[str], columns: Sequence[str], cells: Mapping[tuple[str, str], TableCell]
) -> tuple[tuple[str, ...], Ranking | None]:
    """Ranks of the rows that have every non-empty column; None if there are fewer than two such rows or columns."""
    filled = [column for column in columns if any((row, column) in cells for row in rows)]
    ranked = tuple(row for row in rows if all((row, column) in cells for column in filled))
    if len(ranked) < 2 or len(filled) < 2:
        return ranked, None
    return ranked, rank_rows([[cells[row, column].accuracy.mean for column in filled] for row in ranked])
