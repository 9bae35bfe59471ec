"""Figures as text for every output: percentages, gains with their intervals, published figures."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from raykd.reports.measures import Entry
from raykd.reports.table import Table
from raykd.reports.tables.published import REPORTERS, Quoted
from raykd.reports.tables.statistics import Gain, Spread

NONE = "–"
PERCENT = ("top1", "top5")
NAMED = 8  # rows that a sentence names; more are counted


def accuracy(value: Spread) -> str:
    """In percent: "78.93 ± 0.21", "78.93" for one run, "–" for none."""
    if not value.n:
        return NONE
    return f"{100 * value.mean:.2f}" + (f" ± {100 * value.deviation:.2f}" if value.n > 1 else "")


def number(value: float, form: str = ".3g", scale: float = 1.0, unit: str = "") -> str:
    return NONE if math.isnan(value) else f"{scale * value:{form}}{unit}"


def metric(name: str, value: Spread, form: str) -> str:
    """Accuracies in percent, every other metric by its format."""
    return accuracy(value) if name in PERCENT else number(value.mean, form)


def gain(value: Gain | None) -> str:
    """In percentage points with its interval: "+1.52 [+0.98, +2.06]"."""
    if value is None:
        return NONE
    interval = "" if math.isnan(value.low) else f" [{points(value.low)}, {points(value.high)}]"
    return points(value.difference) + interval


def gain_short(value: Gain) -> str:
    """As `gain`, with the half-width of the symmetric interval: "+1.52 ± 0.54"."""
    half = "" if math.isnan(value.low) else f" ± {50 * (value.high - value.low):.2f}"
    return points(value.difference) + half


def points(difference: float) -> str:
    """A difference of accuracies in percentage points, signed."""
    return f"{100 * difference:+.2f}".replace("-", "−")


def epochs(values: Iterable[float]) -> str:
    """Epochs, each once: "12", "0.25", "9, 12"; many as "9 to 12"."""
    shown = list(dict.fromkeys(f"{epoch:.2f}".rstrip("0").rstrip(".") for epoch in sorted(values)))
    return ", ".join(shown) if len(shown) <= 3 else f"{shown[0]} to {shown[-1]}"


def quoted(figure: dict[str, Any]) -> str:
    """A figure of a recipe's `published`: "79.14" of a top-1, else with its metric's name."""
    name, value = str(figure.get("metric", "")), figure.get("value")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return NONE
    shown = f"{100 * value:.2f}" if name.startswith("top") and value <= 1 else f"{value:g}"
    return shown if name == "top1" else f"{name} {shown}"


def published(cell: Entry, figure: Quoted) -> str:
    """A published figure and the difference of the measured mean from it: "79.10 ± 0.20, −0.31"."""
    deviation = f" ± {100 * figure.deviation:.2f}" if figure.deviation is not None else ""
    return f"{100 * figure.value:.2f}{deviation}, {points(cell.difference(figure))}"


def provenance(figure: Quoted) -> str:
    """Who reports a published figure, and of which epoch: "copied, best epoch, n = 5"."""
    parts = [figure.reporter or "reporter not given"]
    parts.append(f"{figure.epoch} epoch" if figure.epoch else "epoch not given")
    return ", ".join(parts + ([f"n = {figure.n}"] if figure.n else []))


def has_published(table: Table) -> bool:
    return any(table.quoted(*place) for place in table.cells)


REPORTER_WORDS = REPORTERS | {"": ("?", "who reports it is not given")}


def initials(figure: Quoted) -> str:
    """Abbreviation of who reports a figure, and for which epoch: "c,b" for copied, best epoch."""
    who = REPORTER_WORDS[figure.reporter.removesuffix("?")][0] + "?" * figure.reporter.endswith("?")
    return f"{who},{figure.epoch[0]}" if figure.epoch else who


def explain_initials(table: Table) -> str:
    """What the initials of the figures in a table mean."""
    figures = [figure for place in table.cells for figure in table.quoted(*place)]
    reporters = dict.fromkeys(figure.reporter.removesuffix("?") for figure in figures)
    meanings = ", ".join(": ".join(REPORTER_WORDS[name]) for name in reporters)
    epochs = " after it b: best epoch, l: last epoch, nothing: not given."
    return f"{meanings};{epochs}"


def p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def listed(names: Sequence[str]) -> str:
    """ "A, B and C"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def comparison(items: Sequence[Entry]) -> str:
    """The test results of a section: rows that can't be distinguished from the best, and rows without a test."""
    if len(items) < 2:
        return ""
    top = [item for item in items if item.mark == "best"]
    tied = [item for item in items if item.mark == "tied"]
    untested = [item.label for item in items if not item.mark]
    best, has = listed([item.label for item in top]), "has" if len(top) == 1 else "have"
    parts = [f"{best} {has} the highest mean."]
    if tied:
        parts.append(not_distinguished(tied, len(items) - len(top) - len(untested)))
    if untested:
        parts.append(f"{listed(untested)} can't be tested: that needs two or more seeds whose results differ.")
    if len(items) > len(top) + len(untested) and not tied:
        parts.append("Every other tested row is significantly worse.")
    return " ".join(parts)


def not_distinguished(tied: Sequence[Entry], tested: int) -> str:
    """The rows that can't be distinguished from the best: their names with p, or their number if there are many."""
    if len(tied) <= NAMED:
        return f"{listed([f'{item.label} ({p_value(item.p)})' for item in tied])} can't be distinguished from it."
    return (
        f"{len(tied)} of the {tested} other rows can't be distinguished from it (p at least 0.05 after Holm's "
        f"correction for {tested} comparisons, which gains of few seeds rarely pass, even if their own interval "
        "excludes 0)."
    )


def explain_rows(baseline: str) -> str:
    """An explanation of a comparison's numbers."""
    return (
        "Top-1 in % of the deployed network, mean ± sample standard deviation over n seeds, at the last epoch and at "
        "the best one (chosen on the same split, hence optimistic). Gain: percentage points of the last epoch's mean "
        f"over {baseline} of the same student, data and length, with Welch's 95 % confidence interval."
    )


def explain_tests(best: str, tied: str) -> str:
    """An explanation of the marks, with the words for them in this output."""
    return (
        f"{best}: the highest mean. {tied}: not significantly worse than it (Welch's test, two-sided at 5 %, with "
        "Holm's correction for the rows compared)."
    )


def explain_table(table: Table) -> str:
    """An explanation of a table's cells, with their numbers of runs."""
    runs = table.runs
    n = f"n = {runs[0]}" if len(runs) == 1 else f"n = {runs[0]} to {runs[-1]}, shown if below {runs[-1]}"
    return (
        f"Top-1 in % at the last epoch, mean ± sample standard deviation over seeds ({n})." if runs else "No runs yet."
    )


def fewer(cell: Entry, runs: Sequence[int]) -> str:
    """The number of a cell's runs if other cells have more."""
    return f" (n = {cell.last.n})" if cell.last.n < max(runs) else ""


def ranking(table: Table) -> str:
    """An explanation of the average ranks, with the result of Friedman's test."""
    if table.ranking is None:
        return ""
    r = table.ranking
    tested = f" Friedman's test for any difference between rows: {p_value(r.p)}." if not math.isnan(r.p) else ""
    left = [row for row in table.rows if row not in table.ranked]
    without = f" Without {listed(left)}, which lack{'s' if len(left) == 1 else ''} columns." if left else ""
    return (
        f"Average rank over {r.columns} columns (1 is best).{tested} Two rows whose average ranks differ by less than "
        f"{r.distance:.2f} can't be distinguished (Nemenyi's critical difference at 5 %).{without}"
    )
