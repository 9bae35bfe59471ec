"""Overrides of a study's recipes on the command line: in all cells, or in those of one row or column.

--epochs 3 --row KD --method.temperature 2 --column digits --batch-size 32
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from raykd import UserError
from raykd.recipe import Recipe
from raykd.recipe.changes import change, value_at
from raykd.recipe.command_line import parse
from raykd.recipe.shared import shared_with_teachers
from raykd.recipe.study import Study
from raykd.recipe.study.cells import Cell, select

Option = tuple[str, ...]
"""An option and its values, as arguments."""


@dataclass(frozen=True)
class Overrides:
    """Options that override fields of recipes."""

    everywhere: tuple[Option, ...] = ()
    rows: tuple[tuple[str, tuple[Option, ...]], ...] = ()
    columns: tuple[tuple[str, tuple[Option, ...]], ...] = ()


def split(arguments: Sequence[str], own: set[str]) -> tuple[list[str], Overrides]:
    """Split arguments into those of a command's `own` options, and overrides of recipes' fields.

    `--row NAME` and `--column NAME` begin a section: the options after it, up to the next one, apply to that row or
    column only. Raises UserError for a section without a name or options.
    """
    words: list[str] = []
    everywhere: list[Option] = []
    sections: dict[str, list[tuple[str, list[Option]]]] = {"row": [], "column": []}
    current = everywhere
    for option in options(arguments):
        name, equals, value = option[0].partition("=")
        kind = name.removeprefix("--")
        if kind in sections:
            values = [value, *option[1:]] if equals else list(option[1:])
            if len(values) != 1:
                raise UserError(f"{name}: give one name, followed by the fields that change in it")
            current = []
            sections[kind].append((values[0], current))
        elif name.replace("_", "-") in own or not name.startswith("--"):
            if option in (("--rows",), ("--columns",), ("--seeds",)):
                raise UserError(f"{name}: give at least one name, or omit the option to select all")
            words += option
        else:
            current.append(option)
    for kind, names in sections.items():
        for name in (name for name, changes in names if not changes):
            raise UserError(f"--{kind} {name}: give the fields that change in it, or --{kind}s {name} to run it alone")
    rows, columns = (tuple((name, tuple(changes)) for name, changes in sections[kind]) for kind in ("row", "column"))
    return words, Overrides(tuple(everywhere), rows, columns)


def options(arguments: Sequence[str]) -> list[Option]:
    """Arguments in groups: an option and its values."""
    groups: list[list[str]] = []
    for word in arguments:
        if word.startswith("--") or not groups:
            groups.append([word])
        else:
            groups[-1].append(word)
    return [tuple(group) for group in groups]


def overridden(cells: list[Cell], study: Study, overrides: Overrides) -> list[Cell]:
    """The cells with their overrides; fields of `teachers` are ignored in cells without teachers."""
    for name, _ in overrides.rows:
        select(cells, study, rows=[name])
    for name, _ in overrides.columns:
        select(cells, study, columns=[name])
    known: dict[tuple[Option, ...], dict[str, Any]] = {}
    return [_overridden(cell, overrides, known) for cell in cells]


def _overridden(cell: Cell, overrides: Overrides, known: dict[tuple[Option, ...], dict[str, Any]]) -> Cell:
    shared = list(overrides.everywhere)
    shared += [option for name, changes in overrides.columns if name == cell.column.name for option in changes]
    if not cell.recipe.teachers.sources:
        shared = [option for option in shared if not option[0].startswith("--teachers.")]
    own = [option for name, changes in overrides.rows if name == cell.row.name for option in changes]
    words = tuple(shared + own)
    if not words:
        return cell
    try:
        return replace(cell, recipe=shared_with_teachers(cell.recipe, _changed(cell.recipe, words, known)))
    except UserError as error:
        raise UserError(f"row {cell.row.name}, column {cell.column.name}: {error}") from None


def _changed(recipe: Recipe, words: tuple[Option, ...], known: dict[tuple[Option, ...], dict[str, Any]]) -> Recipe:
    """Equal options are parsed once, as parsing takes a quarter of a second."""
    if words in known:
        try:
            changed: Recipe = change(recipe, known[words])
            return changed
        except UserError:  # a field of another kind, or none: the command line's own message says so best
            pass
    parsed: Recipe = parse(Recipe, recipe, [word for option in words for word in option], "raykd study", "")
    known[words] = dict(_value(parsed, option[0]) for option in words)
    return parsed


def _value(recipe: Recipe, word: str) -> tuple[str, Any]:
    """An option's dotted field and its parsed value; --precision.no-tf32 sets precision.tf32."""
    path = word.removeprefix("--").partition("=")[0].replace("-", "_").split(".")
    if path[0] in ("seed", "search"):
        raise UserError(f"{word}: it is set by the study; use --seeds, or change the study's file")
    try:
        value = value_at(recipe, path)
    except LookupError:
        path[-1] = path[-1].removeprefix("no_")
        value = value_at(recipe, path)
    return ".".join(path), value
