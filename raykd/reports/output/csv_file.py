"""The comparison as CSV, one line for each row, at full precision."""

import csv
import io
import math
import re
from collections.abc import Sequence

from raykd.reports.measures import Entry
from raykd.reports.output.text import epochs
from raykd.reports.table import Table
from raykd.reports.tables.published import Quoted

OF_CELLS = "n top1_last top1_last_std top1_best top1_best_std against_best p_against_best baseline".split()
OF_CELLS += ["gain", "gain_low", "gain_high"]
"""The columns of a comparison that a study's table has too."""
FORMULA = re.compile(r"[=+\-@\t\r]")


def figures(item: Entry) -> dict[str, object]:
    """The values of one line; None or NaN if missing."""
    top1, kl = item.mean_agreement
    gain = item.gain
    about = item.row.runs[0].labels
    return {
        "data": about.data,
        "student": about.student,
        "method": item.label,
        "runs_name": item.row.name,
        "n": item.last.n,
        "split": item.row.split,
        "last_epoch": epochs(item.last_epochs),
        "top1_last": item.last.mean,
        "top1_last_std": item.last.deviation,
        "best_epochs": epochs(item.best_epochs),
        "top1_best": item.best.mean,
        "top1_best_std": item.best.deviation,
        **{name: value.mean for name, value in item.metrics.items()},
        "against_best": item.mark,
        "p_against_best": item.p,
        "baseline": item.baseline.row.label if item.baseline.row else None,
        "gain": gain.difference if gain else None,
        "gain_low": gain.low if gain else None,
        "gain_high": gain.high if gain else None,
        "teacher_top1": item.teacher.mean,
        "gap_closed": item.closed,
        "agreement_top1": top1,
        "agreement_kl": kl,
        "parameters": item.parameters,
        "multiply_adds": item.flops,
        "hours": item.compute.mean,
        "hours_unit": item.unit,
        "images_per_second": item.images_per_second.mean,
        "latency_seconds": item.latency.mean,
        "published": " ".join(f"{p.get('metric')}={p.get('value')}" for p in item.published),
        "published_source": "; ".join(dict.fromkeys(str(p.get("source", "")) for p in item.published)),
    }


def comparison(items: Sequence[Entry]) -> str:
    """All rows, with the columns that any of them has."""
    return _csv([figures(item) for item in items])


def table_csv(table: Table) -> str:
    """A table of several columns, one line for each cell and published figure."""
    return _csv([line for place, cell in table.cells.items() for line in _cell_lines(table, *place, cell)])


def _cell_lines(table: Table, row: str, column: str, cell: Entry) -> list[dict[str, object]]:
    teacher = table.teachers.get(column)
    own = {
        "row": row,
        "column": column,
        **{name: value for name, value in figures(cell).items() if name in OF_CELLS},
        "baseline": table.baseline,
        "teacher_top1": teacher.mean if teacher else None,
        "hours": cell.compute.mean,
        "average_rank": table.average_rank(row),
    }
    return [own | _published(cell, figure) for figure in table.quoted(row, column) or (None,)]


def _published(cell: Entry, figure: Quoted | None) -> dict[str, object]:
    return {
        "published": figure.value if figure else None,
        "published_std": figure.deviation if figure else None,
        "published_n": figure.n if figure else None,
        "published_by": figure.reporter if figure else None,
        "published_epoch": figure.epoch if figure else None,
        "difference": cell.difference(figure) if figure else None,
        "published_source": figure.source if figure else None,
    }


def _csv(lines: Sequence[dict[str, object]]) -> str:
    names, out = list(dict.fromkeys(name for line in lines for name in line)), io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_safe(name) for name in names])
    writer.writerows([[_safe(line.get(name)) for name in names] for line in lines])
    return out.getvalue()


def _safe(value: object) -> object:
    """A value for a spreadsheet: an apostrophe before text that would be read as a formula; empty for NaN."""
    if isinstance(value, float) and math.isnan(value):
        return None
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value
