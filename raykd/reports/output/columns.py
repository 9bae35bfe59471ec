"""The columns of a section's table: empty ones are dropped, constant ones are stated once in the text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from raykd.reports.measures import Entry
from raykd.reports.output import text

TITLES = {"top5": "top-5 %", "loss": "loss", "ece": "ECE"}


@dataclass(frozen=True)
class Cell:
    """The text of one cell."""

    shown: str
    small: str = ""  # a second line, or in parentheses
    value: float | None = None  # by which to sort


@dataclass(frozen=True)
class Column:
    """A column of a section's table."""

    title: str
    cells: list[Cell]
    small: str = ""

    @property
    def empty(self) -> bool:
        """Whether no cell has a value."""
        return all(cell.shown == text.NONE for cell in self.cells)

    @property
    def constant(self) -> str:
        """The common content of the non-empty cells; empty if they differ or there is only one."""
        texts = [cell.shown for cell in self.cells if cell.shown != text.NONE]
        return texts[0] if len(texts) > 1 and len(set(texts)) == 1 else ""


@dataclass(frozen=True)
class Columns:
    """The columns that a table shows, and the constant ones as text."""

    shown: list[Column]
    same: list[str]


def columns(items: Sequence[Entry]) -> Columns:
    """The columns of the table of these rows."""
    first, last, best, *others = [_small_once(column) for column in _all(items)]
    shown, same = [first, last], []
    if [cell.shown for cell in best.cells] != [cell.shown for cell in last.cells]:
        shown.append(best)
    for column in others:
        if column.empty:
            continue
        if column.constant and column.title != "gain":
            same.append(f"{column.title} {column.small}".strip() + f" = {column.constant}")
        else:
            shown.append(column)
    return Columns(shown, same)


def _small_once(column: Column) -> Column:
    """Moves a second line that all cells share to the column's head."""
    small = {cell.small for cell in column.cells}
    if len(small) > 1 or len(column.cells) < 2 or small == {""}:
        return column
    head = _head(column.small, small.pop())
    return Column(column.title, [Cell(cell.shown, "", cell.value) for cell in column.cells], head)


def _head(of: str, small: str) -> str:
    """ "last epoch" and "epoch 12" as "last epoch: 12"."""
    return f"{of}: {small.removeprefix('epoch ')}" if of.endswith("epoch") else f"{of} {small}".strip()


def _all(items: Sequence[Entry]) -> list[Column]:
    last = [Cell(text.accuracy(i.last), f"epoch {text.epochs(i.last_epochs)}", i.last.mean) for i in items]
    best = [Cell(text.accuracy(i.best), f"epoch {text.epochs(i.best_epochs)}", i.best.mean) for i in items]
    agreement = [item.mean_agreement[0] for item in items]
    names = dict.fromkeys(name for item in items for name in item.metrics)
    return [
        Column("method", [Cell(i.label, "" if i.row.name == i.label else i.row.name) for i in items]),
        Column("top-1 %", last, "last epoch"),
        Column("top-1 %", best, "best epoch"),
        Column("gain", [_gain(item) for item in items], "points, 95 %"),
        _column("gap closed", [i.closed for i in items], lambda v: text.number(v, ".0f", 100, " %")),
        _column("teacher", [i.teacher.mean for i in items], lambda v: text.number(v, ".2f", 100), "top-1 %"),
        _column("agreement", agreement, lambda v: text.number(v, ".1f", 100, " %"), "with teacher"),
        *(_metric(name, items) for name in names if name != "loss"),
        _column("n", [i.last.n for i in items], str),
        _column("parameters", [i.parameters for i in items], "{:,}".format),
        Column("cost", [Cell(text.number(i.compute.mean, ".2g"), i.unit, i.compute.mean) for i in items], "one run"),
        _column("images/s", [i.images_per_second.mean for i in items], lambda v: text.number(v, ",.0f")),
        _column("latency", [i.latency.mean for i in items], lambda v: text.number(v, ".2f", 1000), "ms, 1 image"),
        _column("restarts", [i.restarts for i in items], lambda v: str(v) if v else text.NONE),
        Column("published", [_published(item) for item in items], "quoted"),
    ]


def _column(title: str, values: Sequence[float], form: Callable[[float], str], small: str = "") -> Column:
    return Column(title, [Cell(form(value), "", value) for value in values], small)


def _gain(item: Entry) -> Cell:
    head, _, interval = text.gain(item.gain).partition(" ")
    return Cell(head, interval, item.gain.difference if item.gain else None)


def _metric(name: str, items: Sequence[Entry]) -> Column:
    values = [item.metrics.get(name) for item in items]
    form = next((item.formats[name] for item in items if name in item.formats), ".3f")
    return Column(
        TITLES.get(name, name),
        [Cell(text.metric(name, v, form), "", v.mean) if v and v.n else Cell(text.NONE) for v in values],
    )


def _published(item: Entry) -> Cell:
    sources = "; ".join(dict.fromkeys(str(p.get("source", "")) for p in item.published))
    figures = ", ".join(text.quoted(p) for p in item.published)
    return Cell(figures, sources, item.published[0].get("value")) if figures else Cell(text.NONE)
