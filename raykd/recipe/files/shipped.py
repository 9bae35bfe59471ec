"""The recipes that ship with raykd, by name: `digits/kd` from any folder."""

import ast
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

import raykd.recipes

PACKAGE = "raykd.recipes"


def folder() -> Path:
    """Their folder: in a checkout beside the package, in a wheel inside it."""
    return Path(next(iter(raykd.recipes.__path__))).resolve()


def path_of(name: str) -> Path | None:
    """The file of a shipped recipe by its name, e.g. digits/kd; None if there is none."""
    path = folder() / f"{name}.py"
    inside = ".." not in path.parts and path.resolve().is_relative_to(folder())
    return path if inside and path.is_file() else None


def module_of(path: Path) -> str:
    """The module of a shipped recipe's file; empty for any other file."""
    if not path.is_relative_to(folder()):
        return ""
    return ".".join((PACKAGE, *path.relative_to(folder()).with_suffix("").parts))


def name_of(path: Path) -> str:
    """The name of a shipped recipe's file."""
    return str(path.relative_to(folder()).with_suffix(""))


def names(kind: str = "recipe") -> list[str]:
    """The names of all shipped recipes, or studies, sorted."""
    return [name_of(path) for path in recipe_files(folder(), kind)]


def close_to(name: str) -> str:
    """The shipped recipe with the most similar name; empty: none."""
    stem = name.removesuffix(".py").removeprefix("./").removeprefix("recipes/")
    return stem if path_of(stem) else next(iter(get_close_matches(stem, [*names(), *names("study")], 1)), "")


def recipe_files(below: Path, kind: str = "recipe") -> Iterator[Path]:
    """The files below a folder that define a `recipe` (or a `study`); they are not run."""
    for path in sorted(below.rglob("*.py")):
        if any(_assigns(statement, kind) for statement in ast.parse(path.read_bytes(), str(path)).body):
            yield path


def _assigns(statement: ast.stmt, name: str) -> bool:
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return any(getattr(target, "id", "") == name for target in targets)
