"""raykd list: methods, models, data sets and recipes, a line each."""

import ast
import importlib
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from raykd import UserError


def run(arguments: Sequence[str]) -> int:
    """Print one list, or all of them; returns the exit status."""
    wanted = list(arguments) or list(LISTS)
    for name in wanted:
        if name not in LISTS:
            raise UserError(f"nothing to list named {name!r}; there are {', '.join(LISTS)}")
    # A line each, however long, where no terminal says how wide lines may be.
    console = Console() if sys.stdout.isatty() else Console(width=400)
    for name in wanted:
        table = Table(box=None, pad_edge=False, show_header=False, title=name, title_justify="left", title_style="bold")
        table.add_column(no_wrap=True)
        table.add_column()
        for row in LISTS[name]():
            table.add_row(*row)
        console.print(table)
        console.print()
    return 0


def methods() -> list[tuple[str, str]]:
    """Class and the first line of the module's docstring of every method."""
    import raykd.methods
    from raykd.contract import Distiller

    found = []
    for module in pkgutil.iter_modules(raykd.methods.__path__):
        loaded = importlib.import_module(f"raykd.methods.{module.name}")
        for name, cls in vars(loaded).items():
            if (
                isinstance(cls, type)
                and issubclass(cls, Distiller)
                and cls.__module__ == loaded.__name__
                and "Config" in vars(cls)
            ):
                found.append((f"{module.name}.{name}", (loaded.__doc__ or "").split("\n")[0]))
    return found


def models() -> list[tuple[str, str]]:
    from raykd.models import names

    return names()


def datasets() -> list[tuple[str, str]]:
    from raykd.data import names

    return names()


def recipes() -> list[tuple[str, str]]:
    """Every recipe below ./recipes with the first line of its docstring, read without running it."""
    folder = Path("recipes")
    found = []
    for path in sorted(folder.rglob("*.py")):
        tree = ast.parse(path.read_text(), str(path))
        if any(
            isinstance(n, ast.Assign) and any(getattr(t, "id", "") == "recipe" for t in n.targets) for n in tree.body
        ):
            found.append((str(path), (ast.get_docstring(tree) or "").split("\n")[0]))
    return found


LISTS = {"methods": methods, "models": models, "datasets": datasets, "recipes": recipes}
