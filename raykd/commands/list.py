"""raykd list: methods, models, data sets, recipes and studies, a line each."""

import ast
import importlib
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from raykd import UserError
from raykd.method import KINDS
from raykd.terminal import Terminal

Tables = dict[str, list[tuple[str, str]]]  # title → rows


def run(arguments: Sequence[str]) -> int:
    """Print one list, or all of them; returns the exit status."""
    wanted = list(arguments) or list(LISTS)
    for name in wanted:
        if name not in LISTS:
            raise UserError(f"nothing to list named {name!r}; there are {', '.join(LISTS)}")
    # A line each, however long, where no terminal says how wide lines may be.
    console = Terminal(width=None if sys.stdout.isatty() else 400)
    for name in wanted:
        for title, rows in LISTS[name]().items():
            table = Table(box=None, pad_edge=False, show_header=False, title=title)
            table.title_justify, table.title_style = "left", "bold"
            table.add_column(no_wrap=True)
            table.add_column()
            for row in rows:
                table.add_row(*row)
            console.print(table)
            console.print()
    return 0


def methods() -> Tables:
    """Class and the first line of the module's docstring of every method, by what it learns from."""
    import raykd.methods
    from raykd.contract import Distiller

    by_kind: dict[str, list[tuple[str, str]]] = {kind: [] for kind in KINDS}
    for module in pkgutil.walk_packages(raykd.methods.__path__, "raykd.methods."):
        loaded = importlib.import_module(module.name)
        for name, cls in vars(loaded).items():
            if (
                isinstance(cls, type)
                and issubclass(cls, Distiller)
                and cls.__module__ == loaded.__name__
                and "Config" in vars(cls)
            ):
                by_kind[cls.Config.kind].append(
                    (f"{module.name.removeprefix('raykd.methods.')}.{name}", (loaded.__doc__ or "").split("\n")[0])
                )
    return {f"methods: {kind}": rows for kind, rows in by_kind.items() if rows}


def models() -> Tables:
    from raykd.models import names

    return {"models": names()}


def datasets() -> Tables:
    from raykd.data import names

    return {"datasets": names()}


def recipes() -> Tables:
    return _files("recipe", "recipes")


def studies() -> Tables:
    return _files("study", "studies")


def _files(kind: str, title: str) -> Tables:
    """Every file of a kind that ships with raykd, and those below ./recipes, with the first line of its docstring."""
    from raykd.recipe import shipped

    found = {title: [(name, _first_line(shipped.folder() / f"{name}.py")) for name in shipped.names(kind)]}
    own = Path("recipes").resolve()
    if own.is_dir() and own != shipped.folder():
        files = shipped.recipe_files(own, kind)
        found[f"{title} here"] = [(str(path.relative_to(own.parent)), _first_line(path)) for path in files]
    return found


def _first_line(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_bytes(), str(path))) or "").partition("\n")[0]


LISTS = {"methods": methods, "models": models, "datasets": datasets, "recipes": recipes, "studies": studies}
