"""The comparison as Markdown."""

import re
from collections.abc import Sequence

from raykd.reports.make import Report
from raykd.reports.measures import Entry
from raykd.reports.output import text
from raykd.reports.output.columns import columns
from raykd.reports.table import Table
from raykd.reports.tables.statistics import Spread
from raykd.reports.trials import Trials

NOTHING = Spread(0.0, 0.0, 0)
SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$!&])")


def escaped(value: str) -> str:
    """Text escaped for Markdown: no markup, links or HTML."""
    return SPECIAL.sub(r"\\\1", value).replace("://", ":\\/\\/").replace("www.", "www\\.")


def markdown(report: Report) -> str:
    parts = [f"# {escaped(report.title)}", f"Made {report.made} by raykd."]
    for table in report.tables:
        parts += [f"## {escaped(table.title)}", *table_parts(table)]
    if report.entries:
        parts.append(escaped(text.explain_rows(report.baseline)))
    for title, items in report.sections.items():
        parts += [f"## {escaped(title)}", *section_parts(items)]
    for trials in report.searches:
        parts += [f"## Search {escaped(trials.record.name)}", *search_parts(trials)]
    if report.open_runs:
        parts += ["## Not finished, not counted", grid(["run", "status", "epochs"], open_cells(report))]
    return "\n\n".join([*parts, *notes(report)]) + "\n"


def notes(report: Report) -> list[str]:
    """Runs that are not in the tables: copies, and directories that can't be read."""
    parts = []
    if report.repeats:
        lines = [f"- {escaped(line)}" for line in repeat_lines(report)]
        parts += ["## Counted once", "\n".join(lines)]
    if report.left_out:
        parts += ["## Left out", "\n".join(f"- {escaped(line)}" for line in report.left_out)]
    return parts


def repeat_lines(report: Report) -> list[str]:
    return [
        f"{r.run.name} repeats recipe and seed of {r.original.name}"
        + (", with the same figures" if r.is_copy else ", with other figures: the training is not deterministic there")
        for r in report.repeats
    ]


def open_cells(report: Report) -> list[list[str]]:
    rows = []
    for run in report.open_runs:
        done = f"{run.lines[-1].epoch:.3g}" if run.lines else "0"
        rows.append([run.name, run.status, f"{done} of {run.recipe['epochs']:g}"])
    return rows


def section_parts(items: Sequence[Entry]) -> list[str]:
    table = columns(items)
    heads = [f"{column.title} ({column.small})" if column.small else column.title for column in table.shown]
    cells = [
        [_joined(column.cells[i].shown, column.cells[i].small) for column in table.shown] for i in range(len(items))
    ]
    parts = [grid(heads, cells)]
    if table.same:
        parts.append(escaped(f"The same in all rows that have it: {'; '.join(table.same)}."))
    return parts + [escaped(line) for line in (text.comparison(items), *gaps(items)) if line]


def gaps(items: Sequence[Entry]) -> list[str]:
    """Why rows have no gain, one line for each reason."""
    reasons: dict[str, list[str]] = {}
    for item in items:
        if item.baseline.reason:
            reasons.setdefault(item.baseline.reason, []).append(item.label)
    all_rows = len(reasons) == 1 and len(next(iter(reasons.values()))) == len(items)
    return [f"No gain{'' if all_rows else f' of {text.listed(names)}'}: {reason}." for reason, names in reasons.items()]


def _joined(shown: str, small: str) -> str:
    return f"{shown} ({small})" if small and not small.startswith("[") else f"{shown} {small}".strip()


def table_parts(table: Table) -> list[str]:
    """A table of several columns with its gains, published figures, ranks and missing runs."""
    explained = f"{escaped(text.explain_table(table))} {text.explain_tests('**Bold**', '*Italic*')}"
    parts = [explained, raw_grid(*_accuracies(table))]
    if any(cell.gain for cell in table.cells.values()):
        gains = [[row, *(_gain(table.cells.get((row, column))) for column in table.columns)] for row in table.rows]
        title = f"Gain over {escaped(table.baseline)}, points, with Welch's 95 % interval:"
        parts += [title, grid(["method", *table.columns], gains)]
    if published := published_rows(table):
        parts += ["Published figures, and how far the own mean is from them (points):"]
        parts.append(grid(["method", "column", "own", "published, difference", "reported", "source"], published))
    if table.ranking:
        parts.append(escaped(text.ranking(table)))
    if table.missing:
        cells = [[m.row, m.column, str(m.seed), m.status, m.reason] for m in table.missing]
        parts += ["Missing runs:", grid(["method", "column", "seed", "status", "reason"], cells)]
    return parts


def _accuracies(table: Table) -> tuple[list[str], list[list[str]]]:
    """Head and rows of Markdown: the teachers', then every method's."""
    lines = [["method", *map(escaped, table.columns), "average rank"]]
    if table.teachers:
        teachers = [text.accuracy(table.teachers.get(column, NOTHING)) for column in table.columns]
        lines.append(["teacher", *teachers, ""])
    for row in table.rows:
        cells = [marked(table.cells.get((row, column)), table.runs) for column in table.columns]
        lines.append([escaped(row), *cells, text.number(table.average_rank(row), ".2f")])
    head, *body = lines if table.ranking else [line[:-1] for line in lines]
    return head, body


def marked(cell: Entry | None, runs: list[int]) -> str:
    """An accuracy: bold if it is the best, italic if it is not significantly worse."""
    if cell is None:
        return text.NONE
    shown = text.accuracy(cell.last) + text.fewer(cell, runs)
    return {"best": f"**{shown}**", "tied": f"*{shown}*"}.get(cell.mark, shown)


def _gain(cell: Entry | None) -> str:
    return text.gain(cell.gain if cell else None)


def published_rows(table: Table) -> list[list[str]]:
    return [
        [*place, text.accuracy(cell.last), text.published(cell, figure), text.provenance(figure), figure.source]
        for place, cell in table.cells.items()
        for figure in table.quoted(*place)
    ]


def search_parts(trials: Trials) -> list[str]:
    about = trials.record.settings
    cells = [[f.name, text.number(f.importance, ".2f"), text.number(f.correlation, "+.2f")] for f in trials.fields]
    return [
        escaped(f"{about.metric} ({about.mode}), best trial {trials.best or text.NONE}"),
        grid(["field", "importance", "rank correlation"], cells),
    ]


def grid(head: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """A table of plain texts."""
    return raw_grid([escaped(item) for item in head], [[escaped(item) for item in line] for line in cells])


def raw_grid(head: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *cells))
