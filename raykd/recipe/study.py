"""A study is a table of runs: rows are methods, columns are settings, and a cell is an ordinary recipe.

It is a Python file with a module-level `study = Study(...)`:

    study = Study(
        rows=(Row(name="Supervised", method=Supervised.Config()), Row(name="KD", method=KD.Config())),
        columns=(Column(name="resnet56 → resnet20", recipe=kd),),
        baseline="Supervised",
    )
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from raykd import UserError
from raykd.fields import MinLen, NonNegativeInt, Seed, affects_result
from raykd.method import MethodConfig
from raykd.recipe import Recipe, Search, Teacher, Teachers, Train
from raykd.recipe.changes import change

Name = Annotated[str, MinLen(1)]
OF_THE_COLUMN = ("method", "teachers", "seed", "search", "published")  # never among what a row takes from a recipe


@dataclass(frozen=True, kw_only=True)
class Quotes:
    """Names of a column's data set and networks in CSV files of published figures."""

    dataset: str = ""
    """The data set's name there."""
    teacher: str = ""
    """The teacher's name there."""
    student: str = ""
    """The student's name there; empty: no published figures."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a study: one setting in which the methods are compared."""

    name: Name
    """What the table calls it."""
    recipe: Recipe
    """Student, data, schedule, and the teachers that methods may use. Method and seed are given by row and study."""
    rows: tuple[str, ...] = ()
    """Rows that it has; empty: all."""
    published: Quotes = Quotes()
    """What published figures call it; without a student: it has none."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a study: one method, with what else it changes of a column's recipe."""

    name: Name
    """What the table calls it."""
    method: MethodConfig
    """The method and its settings."""
    teachers: NonNegativeInt = 1
    """Teachers of the column that the method gets, the first ones. A method that uses none gets none."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Other fields that it changes, dotted names to values: {"data.mixing": Mixup(), "method.alpha": 0.5}."""
    in_column: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Fields that it changes in one column alone, by that column's name, after `changes`."""
    columns: tuple[str, ...] = ()
    """Columns that it has; empty: all."""
    tune: Search | None = None
    """A search whose best values it takes: run first, for each column by itself, on a part held out of the training
    split; the cells then train on the whole split with these values."""
    published: tuple[str, ...] = ()
    """What published figures call the method; empty: as the row."""

    @staticmethod
    def of(name: str, recipe: Recipe, base: Recipe, **more: Any) -> "Row":
        """The row of an ordinary recipe: its method, the number of its teachers, and what else it changes of `base`.

        Fields that can't change a result, such as `workers`, are the column's. `more`: further fields of the row.
        """
        changes = _differences(recipe, base, "") | more.pop("changes", {})
        count = len(list(_each(recipe.teachers.sources)))
        return Row(name=name, method=recipe.method, teachers=count, changes=changes, **more)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A table of runs: methods in rows, settings in columns, several seeds in every cell."""

    rows: Annotated[tuple[Row, ...], MinLen(1)]
    """Rows, in the order of the table."""
    columns: Annotated[tuple[Column, ...], MinLen(1)]
    """Columns, in the order of the table."""
    seeds: Annotated[tuple[Seed, ...], MinLen(1)] = (0, 1, 2)
    """Seeds, a run of each cell for each."""
    baseline: str = ""
    """Row that gains are over; empty: none."""
    published: tuple[str, ...] = ()
    """CSV files of published figures, by their paths from the study's own folder."""


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
        raise UserError("study: no row has any of the columns")
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
    available = list(_each(of_column.sources))
    if len(available) < row.teachers:
        raise UserError(f"it needs {row.teachers} teacher(s), and the column has {len(available)}")
    chosen: list[Teacher] = []
    for source in available[: row.teachers]:
        last = chosen[-1] if chosen else None
        if isinstance(last, Train) and isinstance(source, Train) and last.recipe == source.recipe:
            chosen[-1] = replace(last, seeds=(*last.seeds, *source.seeds))
        else:
            chosen.append(source)
    return replace(of_column, sources=tuple(chosen))


def _each(sources: Iterable[Teacher]) -> Iterator[Teacher]:
    """Sources of one teacher each."""
    for source in sources:
        if isinstance(source, Train):
            yield from (replace(source, seeds=(seed,)) for seed in source.seeds)
        else:
            yield source


def _differences(recipe: Any, base: Any, at: str) -> dict[str, Any]:
    """Fields in which a recipe differs from the base; those of `data` individually."""
    differing: dict[str, Any] = {}
    for each in dataclasses.fields(base):
        mine, theirs = getattr(recipe, each.name), getattr(base, each.name)
        if not affects_result(each) or (not at and each.name in OF_THE_COLUMN):
            continue
        if each.name == "data":
            differing |= _differences(mine, theirs, "data.")
        elif type(mine) is not type(theirs) or mine != theirs:
            differing[at + each.name] = mine
    return differing


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
            raise UserError(f"{where}: {name!r} is no {kind} of the study; there are {'; '.join(existing)}")
