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
    return [
        figure.quoted(cell.row.name, cell.column.name) for cell in cells for figure in figures if _is_of(figure, cell)
    ]


def _is_of(figure: PublishedFigure, cell: Cell) -> bool:
    column, methods = cell.column.published, cell.row.published or (cell.row.name,)
    return (
        column.student != ""
        and figure.student.casefold() == column.student.casefold()
        and figure.dataset.casefold() == column.dataset.casefold()
        and figure.teacher.casefold() in ("", column.teacher.casefold())
        and figure.method.casefold() in map(str.casefold, methods)
    )
