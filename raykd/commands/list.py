"""raykd list: methods, models, data sets, recipes and studies, a line each; runs as a table."""

import ast
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.cells import cell_len
from rich.table import Table

from raykd import UserError
from raykd.method import KINDS
from raykd.runs.listing import TITLES
from raykd.terminal import Terminal

FOLDED = {"name": 26, "what": 14}  # what may be broken: names, reasons; and the width that it gets at least
LESS_IMPORTANT = ("begun", "seed", "data", "student", "what")  # the first is left out first

Tables = dict[str, list[tuple[str, str]]]  # title → rows


def run(arguments: Sequence[str]) -> int:
    """Print one or more lists, or without a name which there are; returns the exit status."""
    # Without a terminal the width of lines is not limited.
    console = Terminal(width=None if sys.stdout.isatty() else 400)
    if arguments and arguments[0] == "runs":
        return _runs(arguments[1:], console)
    if not arguments:
        return _contents(console)
    names = list(arguments)
    for name in names:
        if name not in LISTS:
            raise UserError(f"unknown list {name!r}; there are {', '.join(LISTS)}, runs")
    for name in names:
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


def _contents(console: Terminal) -> int:
    """The commands that print the lists, with the number of entries of each."""
    for name, tables in LISTS.items():
        count = sum(len(rows) for rows in tables().values())
        console.print(f"raykd list {name:10} {count:4}")
    console.print("raykd list runs [STORAGE]")
    return 0


def _runs(storages: Sequence[str], console: Terminal) -> int:
    """The runs of each storage; by default of the one that training writes to."""
    from raykd.launch.driver.run import default_storage
    from raykd.runs.listing import listed
    from raykd.storage.folder import Folder

    default = default_storage()
    if not storages and not Folder(default).names():
        console.print(f"no runs in {Folder(default).location} yet")
        return 0
    for storage in storages or [default]:
        rows = list(listed(Folder(storage)))
        shown = _fitting([TITLES, *rows], console.width)
        table = Table(box=None, pad_edge=False, header_style="bold")
        for i in shown:
            title = TITLES[i]
            right = title == "top-1"
            table.add_column(title, overflow="fold", no_wrap=title not in FOLDED, justify="right" if right else "left")
        for row in rows:
            table.add_row(*(row[i] for i in shown))
        console.print(table)
        if len(shown) < len(TITLES):
            console.print("a wider terminal shows more columns", style="dim")
    return 0


def _fitting(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """The numbers of the columns that fit, the less important ones left out."""
    columns = zip(TITLES, zip(*rows, strict=True), strict=True)
    widths = [min(max(map(cell_len, cells)) + 2, FOLDED.get(title, width)) for title, cells in columns]
    shown = list(range(len(widths)))
    for title in LESS_IMPORTANT:
        if sum(widths[i] for i in shown) > width:
            shown.remove(TITLES.index(title))
    return shown


def methods() -> Tables:
    """Every method with its title, grouped by its source of knowledge."""
    from raykd.api.new.methods import entries

    by_kind: dict[str, list[tuple[str, str]]] = {kind: [] for kind in KINDS}
    for each in entries():
        by_kind[each.config.kind].append((f"{each.module}.{each.cls.__name__}", each.line))
    return {f"methods: {kind}": rows for kind, rows in by_kind.items() if rows}


def models() -> Tables:
    from raykd.models import names

    return {"models": names()}


def datasets() -> Tables:
    from raykd.data.sources import ALL

    return {"datasets": [(source.name, source.description) for source in ALL]}


def recipes() -> Tables:
    return _files("recipe", "recipes")


def studies() -> Tables:
    return _files("study", "studies")


def _files(kind: str, title: str) -> Tables:
    """Every recipe or study that ships with raykd or is below ./recipes, with the first line of its docstring."""
    from raykd.recipe.files import shipped

    lists = {title: [(name, _first_line(shipped.folder() / f"{name}.py")) for name in shipped.names(kind)]}
    own = Path("recipes").resolve()
    if own.is_dir() and own != shipped.folder():
        files = shipped.recipe_files(own, kind)
        lists[f"{title} here"] = [(str(path.relative_to(own.parent)), _first_line(path)) for path in files]
    return lists


def _first_line(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_bytes(), str(path))) or "").partition("\n")[0]


LISTS = {"methods": methods, "models": models, "datasets": datasets, "recipes": recipes, "studies": studies}
