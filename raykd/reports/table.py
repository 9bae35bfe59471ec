"""A table of methods (rows) on several settings (columns), made of the comparison's entries.

In each column the best row is marked, and the rows that are not significantly worse, by Welch's test against the best
with Holm's correction over the column. Over all columns, rows are compared by their average ranks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

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
    """Entries in rows and columns, which are their sections, with statistics; figures and runs to show with them."""

    title: str
    items: Sequence[Entry]
    rows: Sequence[str]
    columns: Sequence[str]
    baseline: str  # a row, "" for none
    published: Sequence[Quoted]
    missing: Sequence[Missing] = ()

    @cached_property
    def cells(self) -> dict[Place, Entry]:
        """The entries of the places that have a finished run."""
        return {(item.label, item.section): item for item in self.items}

    @cached_property
    def teachers(self) -> dict[str, Spread]:
        """By column, top-1 of the teachers of its runs; a teacher of several runs counts once."""
        measured: dict[str, set[float | None]] = {column: set() for column in self.columns}
        for item in self.items:
            measured[item.section].update(map(best_teacher, item.row.runs))
        return {column: teacher for column in self.columns if (teacher := spread(measured[column])).n}

    @property
    def runs(self) -> list[int]:
        """The different numbers of runs per cell, in ascending order."""
        return sorted({cell.last.n for cell in self.cells.values()})

    @cached_property
    def filled(self) -> list[str]:
        """The columns that are not empty."""
        return [column for column in self.columns if any((row, column) in self.cells for row in self.rows)]

    @cached_property
    def ranked(self) -> list[str]:
        """The rows that have every column that is not empty."""
        return [row for row in self.rows if all((row, column) in self.cells for column in self.filled)]

    @cached_property
    def ranking(self) -> Ranking | None:
        """Ranks of the `ranked` rows; None if there are fewer than two such rows or columns."""
        if len(self.ranked) < 2 or len(self.filled) < 2:
            return None
        return rank_rows([[self.cells[row, column].last.mean for column in self.filled] for row in self.ranked])

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
