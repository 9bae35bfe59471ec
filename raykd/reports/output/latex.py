"""Tables for a paper: LaTeX with booktabs."""

import re
from collections.abc import Sequence

from raykd.reports.make import Report
from raykd.reports.measures import Entry
from raykd.reports.output import text
from raykd.reports.table import Table

SPECIAL = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "[": "{[}",  # at the start of a line it would be an argument of the \\ that ends the line before
    "*": "{*}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "±": r"\ensuremath{\pm}",
    "×": r"\ensuremath{\times}",
    "→": r"\ensuremath{\to}",
    "−": r"\ensuremath{-}",
    "–": "--",
    "…": r"\dots{}",
}
WIDE = 7  # columns above which a table lies on its side and is fitted to the page
HEAD = """% Made by raykd. Needs \\usepackage{booktabs}; a wide table also \\usepackage{graphicx,rotating}.
"""


def escaped(value: str) -> str:
    return "".join(SPECIAL.get(c, c) for c in value)


def latex(report: Report) -> str:
    """The tables of several columns if there are any, else one table for each section."""
    tables = [matrix(table) for table in report.tables]
    return HEAD + "\n".join(tables or [section(*each) for each in report.sections.items()])


def matrix(table: Table) -> str:
    """Rows × columns; the best value is bold, values that are not significantly worse are underlined."""
    lines = [["Method", *map(_stacked, table.columns), "rank"]]
    if table.teachers:
        lines.append(["Teacher", *(_accuracy_of(table, column) for column in table.columns), ""])
    for row in table.rows:
        cells = [_cell(table.cells.get((row, column)), table.runs) for column in table.columns]
        lines.append([escaped(row), *cells, escaped(text.number(table.average_rank(row), ".2f"))])
        figures = [_published(table, row, column) for column in table.columns]
        if any(figures):
            lines.append([r"\quad{\scriptsize published}", *figures, ""])
    caption = f"{text.explain_table(table)} {text.explain_tests('Bold', 'Underlined')} {text.ranking(table)}"
    if text.has_published(table):
        caption += f" Below a row the published figure and the own mean's difference; {text.explain_initials(table)}"
    head, *body = lines if table.ranking else [line[:-1] for line in lines]
    rows = [_line(line) for line in body]
    return _table(head, [rows[0], r"\midrule", *rows[1:]] if table.teachers else rows, caption, table.title)


def _accuracy_of(table: Table, column: str) -> str:
    return _spread(text.accuracy(table.teachers[column])) if column in table.teachers else "--"


def _cell(cell: Entry | None, runs: list[int]) -> str:
    return "--" if cell is None else _marked(cell) + escaped(text.fewer(cell, runs))


def _marked(item: Entry) -> str:
    """The last epoch's accuracy: bold if it is the best, underlined if it is not significantly worse."""
    shown = _spread(text.accuracy(item.last))
    return {"best": rf"\textbf{{{shown}}}", "tied": rf"\underline{{{shown}}}"}.get(item.mark, shown)


def _published(table: Table, row: str, column: str) -> str:
    """The first published figure of a cell, with who reports it, and the own mean's difference from it."""
    cell, figures = table.cells.get((row, column)), table.quoted(row, column)
    if cell is None or not figures:
        return ""
    figure, *_ = figures
    shown = escaped(f"{100 * figure.value:.2f}") + rf"\textsuperscript{{{text.initials(figure)}}}"
    return rf"{{\scriptsize {shown} {escaped(text.points(cell.difference(figure)))}}}"


def _spread(shown: str) -> str:
    """ "78.93 ± 0.21" with a small deviation."""
    mean, _, deviation = shown.partition(" ± ")
    return escaped(mean) + (rf"{{\scriptsize\,\ensuremath{{\pm}}{deviation}}}" if deviation else "")


def _stacked(column: str) -> str:
    """A pair, teacher → student, or data set: student, in two lines."""
    parts = re.split(r" → |: ", column, maxsplit=1)
    return r"\shortstack{" + r" \\ ".join(map(escaped, parts)) + "}" if len(parts) > 1 else escaped(column)


def section(title: str, items: Sequence[Entry]) -> str:
    """Methods of one student: last and best epoch, gain."""
    body = []
    for item in items:
        cells = [str(item.last.n), _marked(item), _spread(text.accuracy(item.best)), escaped(text.gain(item.gain))]
        body.append(_line([escaped(item.label), *cells]))
    baseline = next((item.baseline.row.label for item in items if item.baseline.row), "the baseline")
    caption = f"{title}. {text.explain_rows(baseline)} {text.explain_tests('Bold', 'Underlined')}"
    return _table(["Method", "$n$", "last epoch", "best epoch", "gain"], body, caption, title)


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _table(head: Sequence[str], body: Sequence[str], caption: str, title: str) -> str:
    label = re.sub(r"[^a-z0-9]+", "-", title.casefold()).strip("-")
    inner = [rf"\begin{{tabular}}{{l{'c' * (len(head) - 1)}}}", r"\toprule", _line(head), r"\midrule", *body]
    inner += [r"\bottomrule", r"\end{tabular}"]
    if len(head) > WIDE:
        inner = [r"\setlength{\tabcolsep}{3pt}", r"\resizebox{\textwidth}{!}{%", *inner, "}"]
    environment = "sidewaystable" if len(head) > WIDE else "table"
    lines = [rf"\begin{{{environment}}}", r"\centering", rf"\caption{{{escaped(caption)}}}", rf"\label{{tab:{label}}}"]
    return "\n".join([*lines, *inner, rf"\end{{{environment}}}", ""])
