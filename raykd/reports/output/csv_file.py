"""The comparison as CSV, one line for each row, at full precision."""

import csv
import io
import math
import re
from collections.abc import Sequence
from statistics import fmean

from raykd.reports.measures import Entry
from raykd.reports.output.text import epochs
from raykd.reports.table import Table
from raykd.reports.tables.published import Quoted

FORMULA = re.compile(r"[=+\-@\t\r]")


def figures(item: Entry) -> dict[str, object]:
    """The values of one line; None or NaN if missing."""
    top1, kl = mean_agreement(item)
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


def mean_agreement(item: Entry) -> tuple[float, float]:
    """Agreement with the teachers (fraction of equal top-1, KL divergence); the mean over several teachers."""
    agreements = list(item.agreement.values())
    if not agreements:
        return math.nan, math.nan
    return fmean(top1.mean for top1, _ in agreements), fmean(kl.mean for _, kl in agreements)


def comparison(items: Sequence[Entry]) -> str:
    """All rows, with the columns that any of them has."""
    lines = [figures(item) for item in items]
    names = list(dict.fromkeys(name for line in lines for name in line))
    return _csv(names, lines)


def table_csv(table: Table) -> str:
    """A table of several columns, one line for each cell and published figure."""
    lines = [line for (row, column), cell in table.cells.items() for line in _cell_lines(table, row, column, cell)]
    return _csv(list(dict.fromkeys(name for line in lines for name in line)), lines)


def _cell_lines(table: Table, row: str, column: str, cell: Entry) -> list[dict[str, object]]:
    teacher = table.teachers.get(column)
    own = {
        "row": row,
        "column": column,
        "n": cell.last.n,
        "top1_last": cell.last.mean,
        "top1_last_std": cell.last.deviation,
        "top1_best": cell.best.mean,
        "top1_best_std": cell.best.deviation,
        "against_best": cell.mark,
        "p_against_best": cell.p,
        "baseline": table.baseline,
        "gain": cell.gain.difference if cell.gain else None,
        "gain_low": cell.gain.low if cell.gain else None,
        "gain_high": cell.gain.high if cell.gain else None,
        "teacher_top1": teacher.mean if teacher else None,
        "hours": cell.compute.mean,
        "average_rank": table.average_rank(row),
    }
    return [own | _published(cell, figure) for figure in table.published.get((row, column)) or (None,)]


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


def _csv(names: list[str], lines: Sequence[dict[str, object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_safe(name) for name in names])
    writer.writerows([[_safe(line.get(name)) for name in names] for line in lines])
    return out.getvalue()


def _safe(value: object) -> object:
    """A value for a spreadsheet: an apostrophe before text that would be read as a formula; empty for NaN."""
    if isinstance(value, float) and math.isnan(value):
        return None
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value
