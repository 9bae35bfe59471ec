"""A table of methods (rows) on several settings (columns), made of the comparison's entries.

In each column the best row is marked, and the rows that are not significantly worse, by Welch's test against the best
with Holm's correction over the column. Over all columns, rows are compared by their average ranks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from raykd.reports.measures import Entry, best_teacher
from raykd.reports.tables.published import Quoted
from raykd.reports.tables.statistics import Ranking, Spread, rank_rows, spread

Place = tuple[str, str]
"""A row and a column."""


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A missing run, and the reason."""

    row: str
    column: str
    seed: int
    status: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of rows and columns with its statistics."""

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: dict[Place, Entry]  # of the places that have a finished run
    teachers: dict[str, Spread]  # by column
    baseline: str  # a row, "" for none
    ranking: Ranking | None  # of `ranked` over the columns that all of them have
    ranked: tuple[str, ...]
    published: Sequence[Quoted]
    missing: tuple[Missing, ...] = ()

    @property
    def runs(self) -> list[int]:
        """The different numbers of runs per cell, in ascending order."""
        return sorted({cell.last.n for cell in self.cells.values()})

    def quoted(self, row: str, column: str) -> list[Quoted]:
        """The published figures of a cell."""
        return [figure for figure in self.published if (figure.row, figure.column) == (row, column)]

    def average_rank(self, row: str) -> float:
        """The row's rank, averaged over the columns; NaN if it is not ranked."""
        return self.ranking.average[self.ranked.index(row)] if self.ranking and row in self.ranked else np.nan

    def mean_over_columns(self, row: str) -> tuple[float, float] | None:
        """Device-hours and accuracy of a ranked row, means over the columns that all ranked rows have."""
        cells = [self.cells[row, column] for column in self.columns if (row, column) in self.cells]
        if row not in self.ranked or not cells:
            return None
        return float(np.mean([c.compute.mean for c in cells])), float(np.mean([c.last.mean for c in cells]))


def build_table(
    items: Sequence[Entry],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    baseline: str,
    published: Sequence[Quoted],
    missing: Sequence[Missing] = (),
) -> Table:
    """The table of entries, whose columns are their sections; `published` and `missing` are shown with it."""
    cells = {(item.label, item.section): item for item in items}
    ranked, ranking = _ranking(rows, columns, cells)
    return Table(
        title=title,
        rows=tuple(rows),
        columns=tuple(columns),
        cells=cells,
        teachers={column: teacher for column in columns if (teacher := _teachers(items, column)).n},
        baseline=baseline,
        ranking=ranking,
        ranked=ranked,
        published=published,
        missing=tuple(missing),
    )


def _teachers(items: Sequence[Entry], column: str) -> Spread:
    """Top-1 of the teachers of a column's runs; a teacher of several runs counts once."""
    return spread({best_teacher(run) for item in items if item.section == column for run in item.row.runs})


def _ranking(
    rows: Sequence[str], columns: Sequence[str], cells: Mapping[Place, Entry]
) -> tuple[tuple[str, ...], Ranking | None]:
    """Ranks of the rows that have every non-empty column; None if there are fewer than two such rows or columns."""
    filled = [column for column in columns if any((row, column) in cells for row in rows)]
    ranked = tuple(row for row in rows if all((row, column) in cells for column in filled))
    if len(ranked) < 2 or len(filled) < 2:
        return ranked, None
    return ranked, rank_rows([[cells[row, column].last.mean for column in filled] for row in ranked])
