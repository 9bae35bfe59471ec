"""The statistics against statsmodels, SciPy's other functions, formulas by hand and printed tables, on fixed data."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from raykd.reports.tables.statistics import cliques, compared_with_best, gain, holm, rank_rows, spread, welch

A = [0.7312, 0.7298, 0.7355, 0.7321, 0.7280]
B = [0.7250, 0.7266, 0.7241]
C = [0.7149, 0.7320, 0.7215]


def test_mean_and_deviation_equal_numpys():
    assert spread(A) == pytest.approx((np.mean(A), np.sqrt(np.sum((np.array(A) - np.mean(A)) ** 2) / 4), 5))
    assert spread([0.5, None, math.nan])[::2] == (0.5, 1) and math.isnan(spread([0.5]).deviation)
    assert spread([]).n == 0


def test_gain_equals_statsmodels():
    low, high = CompareMeans(DescrStatsW(A), DescrStatsW(B)).tconfint_diff(0.05, usevar="unequal")
    assert gain(A, B) == pytest.approx((np.mean(A) - np.mean(B), low, high), rel=1e-9)


@pytest.mark.parametrize("a, b", [([0.7], B), (A, [0.7]), ([0.7, 0.7], [0.6, 0.6])])
def test_nothing_is_tested_without_variance(a, b):
    assert math.isnan(gain(a, b).low) and math.isnan(welch(a, b))


def test_welch_equals_statsmodels():
    _, p, _ = CompareMeans(DescrStatsW(A), DescrStatsW(C)).ttest_ind(usevar="unequal")
    assert welch(A, C) == pytest.approx(p, rel=1e-9)


def test_holm_equals_statsmodels():
    p = [0.001, 0.8, 0.012, 0.04, 0.03, 0.012, 0.5]
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    with_gap = holm([0.04, math.nan, 0.01])  # an untested row is not a comparison
    assert with_gap[::2] == pytest.approx(multipletests([0.04, 0.01], method="holm")[1]) and math.isnan(with_gap[1])


def test_rows_are_compared_with_the_best():
    marks, p = zip(*compared_with_best([C, A, B]))
    expected = multipletests([welch(A, C), welch(A, B)], method="holm")[1]
    assert (
        [mark == "best" for mark in marks] == [False, True, False]
        and math.isnan(p[1])
        and [p[0], p[2]] == pytest.approx(expected)
    )


def test_ranks_equal_scipys_and_demsars():
    """Critical values from table 5 of Demšar 2006; ranks with ties by hand."""
    table = np.array([[0.70, 0.60, 0.80, 0.71], [0.72, 0.61, 0.80, 0.75], [0.74, 0.66, 0.79, 0.75]])
    found = rank_rows(table)
    assert found.average == pytest.approx([(3 + 3 + 1.5 + 3) / 4, (2 + 2 + 1.5 + 1.5) / 4, (1 + 1 + 3 + 1.5) / 4])
    assert found.p == pytest.approx(stats.friedmanchisquare(*table).pvalue) and found.columns == 4
    printed = {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 9: 3.102, 10: 3.164}
    rng = np.random.default_rng(0)
    for rows, q in printed.items():
        distance = rank_rows(rng.random((rows, 12))).distance
        assert distance == pytest.approx(q * math.sqrt(rows * (rows + 1) / (6 * 12)), abs=6e-4 * rows)


def test_friedman_equals_its_formula():
    table = np.random.default_rng(3).random((5, 9))
    ranks = np.array(rank_rows(table).average)
    statistic = 12 * 9 / (5 * 6) * (np.sum(ranks**2) - 5 * 6**2 / 4)
    assert rank_rows(table).p == pytest.approx(stats.chi2.sf(statistic, 4))


def test_two_rows_have_ranks_but_no_test():
    assert math.isnan(rank_rows([[0.7, 0.8], [0.6, 0.9]]).p)
    assert math.isnan(rank_rows([[0.7, 0.8]] * 3).p), "all rows are equal"


def test_cliques_are_maximal_groups_within_the_critical_difference():
    ranking = rank_rows([[0.5]] * 2)._replace(average=[1.0, 2.5, 2.9, 4.4, 6.0], distance=2.0)
    assert cliques(ranking) == [(1.0, 2.9), (2.5, 4.4), (4.4, 6.0)]
