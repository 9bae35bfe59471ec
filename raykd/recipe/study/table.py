"""A study is a table of runs: rows are methods, columns are settings.

It is a Python file with a module-level `study = Study(...)`:

    study = Study(
        rows=(Row(name="Supervised", method=Supervised.Config()), Row(name="KD", method=KD.Config())),
        columns=(Column(name="resnet56 → resnet20", recipe=kd),),
        baseline="Supervised",
    )
"""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from raykd.fields import MinLen, NonNegativeInt, Seed, affects_result
from raykd.method import MethodConfig
from raykd.recipe import Recipe, Search, Teacher, Train

Name = Annotated[str, MinLen(1)]
OF_THE_COLUMN = ("method", "teachers", "seed", "search", "published")  # never among what a row takes from a recipe


@dataclass(frozen=True, kw_only=True)
class Quotes:
    """Names of a column's data set and networks in CSV files of published figures."""

    dataset: str = ""
    """Name of the data set in published figures."""
    teacher: str = ""
    """Name of the teacher in published figures."""
    student: str = ""
    """Name of the student in published figures; empty: no published figures."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a study: one setting in which the methods are compared."""

    name: Name
    """Name in the table."""
    recipe: Recipe
    """Student, data, schedule, and the teachers that methods may use; its method and seed are replaced by those of the
    row and the study."""
    rows: tuple[str, ...] = ()
    """Names of its rows; empty: all."""
    published: Quotes = Quotes()
    """Names of data set, teacher and student in published figures."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a study: one method, and further changes of the columns' recipes."""

    name: Name
    """Name in the table."""
    method: MethodConfig
    """The method and its settings."""
    teachers: NonNegativeInt = 1
    """Number of the column's teachers that the method gets (the first ones); methods without teachers get none."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Other fields to change, dotted names to values: {"data.mixing": Mixup(), "method.alpha": 0.5}."""
    in_column: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Fields to change in one column only, by that column's name; applied after `changes`."""
    columns: tuple[str, ...] = ()
    """Names of its columns; empty: all."""
    tune: Search | None = None
    """A search that is run first for each column, on a held-out part of the training split; the cells are then trained
    on the whole split with the best values."""
    published: tuple[str, ...] = ()
    """Names of the method in published figures; empty: the row's name."""

    @staticmethod
    def of(name: str, recipe: Recipe, base: Recipe, **more: Any) -> "Row":
        """The row of an ordinary recipe: its method, the number of its teachers, and its other differences from `base`.

        Fields that can't change a result, such as `workers`, are taken from the column. more: other fields of the row.
        """
        changes = _differences(recipe, base, "") | more.pop("changes", {})
        count = len(list(single_teachers(recipe.teachers.sources)))
        return Row(name=name, method=recipe.method, teachers=count, changes=changes, **more)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A table of runs: methods in rows, settings in columns, and a run for each seed in every cell."""

    rows: Annotated[tuple[Row, ...], MinLen(1)]
    """Rows, in the order of the table."""
    columns: Annotated[tuple[Column, ...], MinLen(1)]
    """Columns, in the order of the table."""
    seeds: Annotated[tuple[Seed, ...], MinLen(1)] = (0, 1, 2)
    """Seeds; each cell has one run for each."""
    baseline: str = ""
    """Row that gains are relative to; empty: none."""
    published: tuple[str, ...] = ()
    """CSV files of published figures, relative to the study's folder."""


def single_teachers(sources: Iterable[Teacher]) -> Iterator[Teacher]:
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
