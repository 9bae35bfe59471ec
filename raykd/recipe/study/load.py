"""Studies from files."""

from dataclasses import dataclass, replace
from pathlib import Path

from raykd import UserError
from raykd.recipe import Recipe
from raykd.recipe.files.imported import expect_from
from raykd.recipe.files.load import Loaded, check_types
from raykd.recipe.files.modules import import_named, roots_of
from raykd.recipe.files.sources import user_sources
from raykd.recipe.study import Study
from raykd.recipe.study.cells import Cell, cells


@dataclass(frozen=True)
class LoadedStudy:
    """A study with the source of its file and of the user's modules that it imports."""

    study: Study
    cells: list[Cell]  # of every row in every column, whatever the seed
    path: Path
    sources: dict[str, str]  # path below the study's root → text
    docstring: str

    def of(self, recipe: Recipe) -> Loaded:
        """One of its recipes, as if loaded from the study's file."""
        return Loaded(recipe, self.path, self.sources, self.docstring)


def load_study(study: str | Path) -> LoadedStudy:
    """The `study` of a Python file; raises UserError if there is none, or if its table is invalid."""
    file = import_named(study, "study", Study)
    check_types(file.value, file.path, "study")
    try:
        all_cells = cells(file.value)
    except UserError as error:
        raise UserError(f"{file.path}: {error}") from None
    for cell in all_cells:
        check_types(replace(cell.recipe, search=None), f"{file.path}, row {cell.row.name}, column {cell.column.name}")
    sources = user_sources(file.modules, [cell.recipe for cell in all_cells], roots_of(file.path))
    expect_from(file.modules, roots_of(file.path))
    return LoadedStudy(file.value, all_cells, file.path, sources, file.docstring)
