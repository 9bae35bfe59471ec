"""The cells of a study: one ordinary recipe for each row in each column."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from raykd import UserError
from raykd.recipe import Recipe, Teacher, Teachers, Train
from raykd.recipe.changes import change
from raykd.recipe.study.table import Column, Row, Study, single_teachers


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One row in one column, for any seed."""

    row: Row
    column: Column
    recipe: Recipe

    @property
    def path(self) -> str:
        """The folder of its runs below the study's directory; it has a folder for each seed."""
        return f"{slug(self.row.name)}/{slug(self.column.name)}"

    def seeded(self, seed: int) -> Recipe:
        """The cell's recipe with this seed."""
        return replace(self.recipe, seed=seed)


def slug(name: str) -> str:
    """A name as a folder: "resnet56 → resnet20" is resnet56-resnet20."""
    return re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "-"


def cells(study: Study) -> list[Cell]:
    """Every cell of a study, by row, then by column; raises UserError for an invalid table."""
    _check_names("row", [row.name for row in study.rows])
    _check_names("column", [column.name for column in study.columns])
    if study.baseline:
        _expect("baseline", [study.baseline], "row", study.rows)
    for row in study.rows:
        _expect(f"row {row.name}: columns", row.columns, "column", study.columns)
        _expect(f"row {row.name}: in_column", row.in_column, "column", study.columns)
    for column in study.columns:
        _expect(f"column {column.name}: rows", column.rows, "row", study.rows)
    table = [_cell(row, column) for row in study.rows for column in study.columns if _meet(row, column)]
    if not table:
        raise UserError("study: no row has any of the columns; check their `columns` and `rows`")
    return table


def select(all_cells: list[Cell], study: Study, *, rows: Iterable[str] = (), columns: Iterable[str] = ()) -> list[Cell]:
    """The cells of some rows and columns; empty: all. Raises UserError for an unknown name, or if no cell is left."""
    rows, columns = tuple(rows), tuple(columns)
    _expect("--rows", rows, "row", study.rows)
    _expect("--columns", columns, "column", study.columns)
    left = [c for c in all_cells if (not rows or c.row.name in rows) and (not columns or c.column.name in columns)]
    if not left:
        raise UserError("study: none of the named rows has any of the named columns")
    return left


def _meet(row: Row, column: Column) -> bool:
    return (not row.columns or column.name in row.columns) and (not column.rows or row.name in column.rows)


def _cell(row: Row, column: Column) -> Cell:
    where = f"row {row.name}, column {column.name}"
    try:
        recipe = replace(
            column.recipe,
            method=row.method,
            teachers=_teachers(column.recipe.teachers, row),
            search=row.tune,
            published=(),
        )
        recipe = change(recipe, row.changes)
        return Cell(row=row, column=column, recipe=change(recipe, row.in_column.get(column.name, {})))
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _teachers(of_column: Teachers, row: Row) -> Teachers:
    """The first teachers of a column, as many as the row uses."""
    if not row.method.uses_teachers or not row.teachers:
        return Teachers()
    available = list(single_teachers(of_column.sources))
    if len(available) < row.teachers:
        raise UserError(
            f"it needs {row.teachers} teacher(s), but the column has {len(available)}: add some, or lower it"
        )
    chosen: list[Teacher] = []
    for source in available[: row.teachers]:
        last = chosen[-1] if chosen else None
        if isinstance(last, Train) and isinstance(source, Train) and last.recipe == source.recipe:
            chosen[-1] = replace(last, seeds=(*last.seeds, *source.seeds))
        else:
            chosen.append(source)
    return replace(of_column, sources=tuple(chosen))


def _check_names(kind: str, names: list[str]) -> None:
    """Raise UserError if two names, or their folders, are equal."""
    seen: dict[str, str] = {}
    for name in names:
        folder = slug(name).casefold()  # some file systems tell no case
        if folder in seen:
            same = "one name" if seen[folder] == name else f"names that give one folder, {slug(name)}"
            raise UserError(f"study: two {kind}s, {seen[folder]!r} and {name!r}, have {same}: rename one")
        seen[folder] = name


def _expect(where: str, names: Iterable[str], kind: str, known: Iterable[Row | Column]) -> None:
    existing = [each.name for each in known]
    for name in names:
        if name not in existing:
            raise UserError(f"{where}: the study has no {kind} {name!r}; its {kind}s are {'; '.join(existing)}")
