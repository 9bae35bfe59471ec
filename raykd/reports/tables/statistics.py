"""Statistics over seeds and over columns of a table: confidence intervals, tests, ranks.

Tests and distributions are SciPy's.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

CONFIDENCE = 0.95
SIGNIFICANCE = 1 - CONFIDENCE
Mark = Literal["best", "tied", "worse", ""]  # tied: not significantly worse than the best; "": can't be tested
EQUAL = 1e-9  # accuracies that differ by less count as equal: no test set has a thousand million images


class Spread(NamedTuple):
    """A quantity over the seeds of a row."""

    mean: float
    deviation: float  # sample standard deviation, nan for n = 1
    n: int


class Gain(NamedTuple):
    """Difference of two means with Welch's 95 % confidence interval (nan if a group has only one run)."""

    difference: float
    low: float
    high: float


class Ranking(NamedTuple):
    """Average ranks of rows over columns (1 is the best), with Friedman's test that all rows are alike."""

    average: list[float]
    columns: int
    p: float  # nan with fewer than three rows or two columns
    distance: float  # Nemenyi's critical difference of two average ranks


def spread(values: Iterable[float | None]) -> Spread:
    """Mean and sample deviation of the values that are numbers."""
    array = np.array([value for value in values if value is not None and np.isfinite(value)], dtype=float)
    if not len(array):
        return Spread(np.nan, np.nan, 0)
    return Spread(float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else np.nan, len(array))


def gain(values: Sequence[float], baseline: Sequence[float]) -> Gain:
    """Mean minus the baseline's mean; Welch's unequal-variances t interval needs two runs on either side."""
    difference = float(np.mean(values) - np.mean(baseline))
    if not testable(values, baseline):
        return Gain(difference, np.nan, np.nan)
    from scipy import stats

    error, freedom = _standard_error(values, baseline)
    half = float(stats.t.ppf(1 - SIGNIFICANCE / 2, freedom)) * error
    return Gain(difference, difference - half, difference + half)


def testable(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether Welch's test is possible: two runs in each group, and not all of them equal."""
    return min(len(a), len(b)) >= 2 and max(np.ptp(a), np.ptp(b)) > EQUAL


def welch(a: Sequence[float], b: Sequence[float]) -> float:
    """Two-sided p value of Welch's t test for equal means; NaN if it can't be tested."""
    if not testable(a, b):
        return np.nan
    from scipy import stats

    error, freedom = _standard_error(a, b)
    return float(2 * stats.t.sf(abs(np.mean(a) - np.mean(b)) / error, freedom))


def _standard_error(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Standard error of the difference of two means, and its degrees of freedom (Welch–Satterthwaite).

    SciPy's own test warns, and may be inexact, if a group is constant, as accuracies near 100 % often are.
    """
    parts = [(float(np.var(group, ddof=1)) / len(group), len(group) - 1) for group in (a, b)]
    square = sum(part for part, _ in parts)
    return square**0.5, square**2 / sum(part**2 / degrees for part, degrees in parts)


def holm(p: Sequence[float]) -> list[float]:
    """p values adjusted by Holm (1979): the i-th smallest of m times m - i, made monotonic; NaN stays."""
    values = np.asarray(p, dtype=float)
    order = np.argsort(values)[: int(np.isfinite(values).sum())]  # nan is sorted last
    scaled = values[order] * np.arange(len(order), 0, -1)
    adjusted = np.full(len(values), np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted.tolist()


def compared_with_best(groups: Sequence[Sequence[float]]) -> list[tuple[Mark, float]]:
    """For each group its mark, and the Holm-adjusted p value against the one with the highest mean; NaN if untested."""
    means = [np.mean(group) for group in groups]
    best = int(np.argmax(means))
    others = [i for i in range(len(groups)) if i != best]
    adjusted = dict(zip(others, holm([welch(groups[best], groups[i]) for i in others]), strict=True))
    p = [adjusted.get(i, np.nan) for i in range(len(groups))]
    return [(_mark(bool(mean == means[best]), p[i]), p[i]) for i, mean in enumerate(means)]


def _mark(is_best: bool, p: float) -> Mark:
    """The mark of a row from its p value against the best; NaN: not tested."""
    if is_best:
        return "best"
    if np.isnan(p):
        return ""
    return "worse" if p < SIGNIFICANCE else "tied"


def rank_rows(means: Sequence[Sequence[float]]) -> Ranking:
    """Average ranks of the rows of a table [rows][columns] of accuracies; ties share their rank.

    Friedman's test asks whether any rows differ (chi-square, corrected for ties); two rows whose average ranks are
    less than Nemenyi's critical difference apart can't be distinguished (Demšar, JMLR 2006).
    """
    from scipy import stats

    table = np.asarray(means, dtype=float)
    rows, columns = table.shape
    average = stats.rankdata(-table, axis=0).mean(1).tolist()
    tested = rows >= 3 and columns >= 2 and bool((np.ptp(table, axis=0) > 0).any())
    p = float(stats.friedmanchisquare(*table).pvalue) if tested else np.nan
    q = stats.studentized_range.ppf(CONFIDENCE, rows, np.inf) / np.sqrt(2)
    return Ranking(average, columns, p, float(q * np.sqrt(rows * (rows + 1) / (6 * columns))))


def cliques(ranking: Ranking) -> list[tuple[float, float]]:
    """Maximal groups of rows within the critical difference, each as (lowest, highest) average rank."""
    ranks = sorted(ranking.average)
    spans: list[tuple[float, float]] = []
    for i, low in enumerate(ranks):
        high = max(rank for rank in ranks[i:] if rank - low < ranking.distance)
        if high > low and (not spans or high > spans[-1][1]):
            spans.append((low, high))
    return spans
