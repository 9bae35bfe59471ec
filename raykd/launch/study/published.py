"""Published results for a study's cells, from the CSV files that it names."""

from pathlib import Path

from raykd.recipe.study.cells import Cell
from raykd.reports.tables.published import PublishedFigure, Quoted, read_published


def published(cells: list[Cell], files: tuple[str, ...], folder: Path) -> list[Quoted]:
    """Top-1 by cell: same data set and networks as the column, one of the row's names, ignoring case.

    A result without a teacher is the student's own, and matches whatever the column's teacher. Raises UserError, as one
    line, for a file that can't be read.
    """
    figures = [figure for file in files for figure in read_published(folder / file) if figure.metric == "top1"]
    by_pair: dict[tuple[str, str], list[PublishedFigure]] = {}
    for figure in figures:
        by_pair.setdefault((figure.dataset.casefold(), figure.student.casefold()), []).append(figure)
    quoted = []
    for cell in cells:
        quotes = cell.column.published
        for figure in by_pair.get((quotes.dataset.casefold(), quotes.student.casefold()), []):
            if quotes.student and _is_of(figure, cell):
                quoted.append(figure.quoted(cell.row.name, cell.column.name))
    return quoted


def _is_of(figure: PublishedFigure, cell: Cell) -> bool:
    names = {name.casefold() for name in cell.row.published or (cell.row.name,)}
    teachers = ("", cell.column.published.teacher.casefold())
    return figure.method.casefold() in names and figure.teacher.casefold() in teachers
