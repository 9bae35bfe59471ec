"""The table of several methods on several pairs, in every output format."""

import csv
import io
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from raykd.recipe.labels import Labels
from raykd.reports.collect import RunRecord
from raykd.reports.compare import Baseline, new_row
from raykd.reports.measures import entries
from raykd.reports.output.csv_file import table_csv
from raykd.reports.output.latex import matrix
from raykd.reports.output.markdown import table_parts
from raykd.reports.output.text import ranking
from raykd.reports.table import Missing, Table
from raykd.reports.tables.published import Quoted
from raykd.runs.results.models import Accuracy, Evaluation, FullAccuracy, Line, Result, TeacherAccuracy

ROWS = ["Supervised", "KD", "DKD", "rare"]
COLUMNS = ["resnet56 → resnet20", "vgg13 → vgg8", "digits_few & more"]
VALUES = {
    "Supervised": [0.690, 0.692, 0.688],
    "KD": [0.7061, 0.7089, 0.7102],
    "DKD": [0.7102, 0.7110, 0.7079],
    "rare": [0.7, 0.6, 0.65],
}


def run(row, column, seed, last, best, hours):
    """A finished run of two evaluations, the best one first."""
    return RunRecord(
        path=Path(row, column, str(seed)),
        name=f"{row}-{seed}",
        labels=Labels("digits", column, row, seed),
        recipe={"seed": seed},
        result=Result(name=row, status="finished", workers=1, seconds=3600.0 * hours),
        lines=[Line(epoch=i, evaluation={"student": Accuracy(top1=top1)}) for i, top1 in ((1.0, best), (2.0, last))],
        evaluation=Evaluation(
            split="test",
            class_names=[],
            networks={"student": FullAccuracy(top1=last)},
            teachers={"teacher": TeacherAccuracy(top1=0.8)},
        ),
    )


def items():
    """An entry for each cell; "rare" has a single run, and none in the last column."""
    rows = [
        new_row(column, row, "", [run(row, column, i, v + 0.02 * c, v + 0.03, r + 1) for i, v in enumerate(values)])
        for r, row in enumerate(ROWS)
        for c, column in enumerate(COLUMNS)
        if (row, c) != ("rare", 2)
        for values in [VALUES[row][: 1 if row == "rare" else 3]]
    ]
    return entries(rows, lambda section, row: Baseline(row=None if row is section[0] else section[0]))


@pytest.fixture
def table():
    copied = Quoted(
        row="KD",
        column=COLUMNS[0],
        value=0.7066,
        deviation=0.003,
        n=5,
        reporter="copied",
        epoch="best",
        source="CRD, t. 1",
    )
    missing = [Missing(row="rare", column=COLUMNS[2], seed=0, status="failed", reason="loss is not finite")]
    return Table(
        items=items(),
        rows=ROWS,
        columns=COLUMNS,
        title="a study",
        baseline="Supervised",
        published=[copied],
        missing=missing,
    )


def test_cells_equal_scipys(table):
    kd, dkd = table.cells["KD", COLUMNS[0]], table.cells["DKD", COLUMNS[0]]
    p = {row: stats.ttest_ind(VALUES[row], VALUES["DKD"], equal_var=False).pvalue for row in ("KD", "Supervised")}
    assert dkd.mark == "best" and kd.mark == "tied" and kd.p == pytest.approx(max(p["KD"], 2 * p["Supervised"]))
    worse = table.cells["Supervised", COLUMNS[0]]
    assert worse.mark == "worse" and worse.p == pytest.approx(2 * p["Supervised"]), "two comparisons, by Holm"
    interval = stats.ttest_ind(VALUES["KD"], VALUES["Supervised"], equal_var=False).confidence_interval()
    assert kd.gain[1:] == pytest.approx(interval) and worse.gain is None
    assert kd.last == pytest.approx((np.mean(VALUES["KD"]), np.std(VALUES["KD"], ddof=1), 3))
    assert table.cells["rare", COLUMNS[0]].mark == "" and math.isnan(table.cells["rare", COLUMNS[0]].gain.low)


def test_published_figures_are_compared_with_the_same_epoch(table):
    cell = table.cells["KD", COLUMNS[0]]
    (figure,) = table.quoted("KD", COLUMNS[0])
    assert cell.difference(figure) == pytest.approx(np.mean(VALUES["KD"]) + 0.03 - 0.7066)
    last = figure.model_copy(update={"epoch": ""})
    assert cell.difference(last) == pytest.approx(np.mean(VALUES["KD"]) - 0.7066)


def test_only_complete_rows_are_ranked(table):
    assert table.ranked == ["Supervised", "KD", "DKD"] and table.ranking.columns == 3
    assert table.ranking.average == [3, 2, 1] and math.isnan(table.average_rank("rare"))
    hours, accuracy = table.mean_over_columns("KD")
    assert hours == 2 and accuracy == pytest.approx(np.mean(VALUES["KD"]) + 0.02)


def test_a_row_that_is_not_ranked_is_named(table):
    assert ranking(table).endswith("Without rare, which lacks columns.")


def test_rows_with_equal_means_are_both_the_best():
    rows = [new_row("a", row, "", [run(row, "a", 0, 0.9, 0.9, 1)]) for row in "xy"]
    assert [item.mark for item in entries(rows, lambda section, row: Baseline(row=None))] == ["best", "best"]


def test_markdown_has_marks_and_escapes(table):
    text = "\n".join(table_parts(table))
    assert "| DKD | **70.97 ± 0.16** |" in text and "| KD | *70.84 ± 0.21* |" in text
    assert "digits\\_few \\& more" in text and "| teacher | 80.00 |" in text
    assert "| rare | 70.00 (n = 1) | 72.00 (n = 1) | – | – |" in text
    assert "70.66 ± 0.30, +3.18 | copied, best epoch, n = 5 | CRD, t. 1 |" in text
    assert "| rare | digits\\_few \\& more | 0 | failed | loss is not finite |" in text


def test_csv_has_every_number(table):
    lines = {(line["row"], line["column"]): line for line in csv.DictReader(io.StringIO(table_csv(table)))}
    line = lines["KD", COLUMNS[0]]
    assert float(line["top1_last"]) == pytest.approx(np.mean(VALUES["KD"])) and line["against_best"] == "tied"
    assert (line["published"], line["published_by"], line["published_epoch"]) == ("0.7066", "copied", "best")
    assert float(line["average_rank"]) == 2 and lines["rare", COLUMNS[0]]["top1_last_std"] == ""


def test_latex_has_marks_and_escapes(table):
    text = matrix(table)
    assert r"\textbf{70.97{\scriptsize\,\ensuremath{\pm}0.16}}" in text and r"\underline{70.84" in text
    assert r"\shortstack{resnet56 \\ resnet20}" in text and r"digits\_few \& more" in text
    assert r"{\scriptsize 70.66\textsuperscript{c,b} +3.18}" in text and "c: copied from another paper" in text
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    assert {line.count(" & ") for line in body.splitlines() if line.endswith(r"\\")} == {4}
    assert text.count("{") == text.count("}") and r"\begin{tabular}{lcccc}" in text
