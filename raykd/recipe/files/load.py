"""Recipes from files. A recipe is code: loading one runs it."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raykd import UserError
from raykd.recipe import Recipe
from raykd.recipe.files.imported import expect_current, expect_from
from raykd.recipe.files.modules import import_named, import_root, roots_of
from raykd.recipe.files.sources import user_sources
from raykd.recipe.serial import classes_in, from_dict, to_dict


@dataclass(frozen=True)
class Loaded:
    """A recipe with the source of its file and of the user's modules that it imports."""

    recipe: Recipe
    path: Path
    sources: dict[str, str]  # path below the recipe's root → text
    docstring: str
    is_file: bool = True  # False: it was created in Python, and a file of that path is another one

    def is_own_file(self, name: str) -> bool:
        """Whether a path of `sources` is that of the recipe's file."""
        parts = Path(name).parts
        return self.is_file and self.path.parts[-len(parts) :] == parts


def load(recipe: str | Path) -> Loaded:
    """The `recipe` of a Python file, or a recipe that ships with raykd, by name: digits/kd. Raises UserError."""
    file = import_named(recipe, "recipe", Recipe)
    check_types(dataclasses.replace(file.value, search=None), file.path)
    sources = user_sources(file.modules, [file.value], roots_of(file.path))
    expect_from(file.modules, roots_of(file.path))
    return Loaded(file.value, file.path, sources, file.docstring)


def load_object(recipe: Recipe, name: str) -> Loaded:
    """A recipe that was created in Python, in the form of `load`; `name` replaces the file's.

    Raises UserError for classes defined in a notebook or in the main script: workers can't import them.
    """
    modules = {cls.__module__: cls for cls in classes_in(recipe)}
    if "__main__" in modules:
        raise UserError(
            f"{modules['__main__'].__qualname__} is defined in a notebook's cell or in the script that runs, where no "
            "worker can import it: move it to a module (in a notebook: %%writefile mine.py) and import it"
        )
    check_types(dataclasses.replace(recipe, search=None), "the recipe")
    expect_current(modules.values())
    roots = [Path.cwd().resolve(), *(root for name in modules if (root := import_root(name)) is not None)]
    path = Path.cwd().resolve() / f"{name}.py"
    return Loaded(recipe, path, user_sources(set(modules), [recipe], roots), "", is_file=False)


def check_types(value: Any, where: Path | str, name: str = "recipe") -> None:
    """Raise UserError if a field of a recipe, or of a study, is not of its type, which dataclasses don't check."""
    try:
        from_dict(to_dict(value), type(value), name)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except RecursionError:
        raise UserError(f"{where}: a recipe is one of its own teachers; remove it there") from None
