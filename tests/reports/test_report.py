"""Every number of the report, recomputed with NumPy and SciPy from synthetic run directories."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from raykd import UserError
from raykd.reports.drawing.curves import accuracy_curves, deployed_curve, line_curves
from raykd.reports.make import make
from raykd.reports.measures import calibration, class_gains
from raykd.reports.output.text import comparison
from raykd.reports.report import report
from tests.support.synthetic_runs import write_run, write_search

PUBLISHED = [
    {"class": "raykd.recipe:Published", "metric": "top1", "value": 0.7914, "source": "Li et al. 2021, table 2"}
]
TEACHERS = ("big seed 0", "big seed 1")


@pytest.fixture
def runs(tmp_path, recipe):
    root = tmp_path / "runs"
    for seed in range(3):
        write_run(root, recipe("Supervised", seed), f"supervised-seed{seed}", top1=0.92, teachers=())
        write_run(root, recipe("KD", seed, published=PUBLISHED), f"kd-seed{seed}", top1=0.95, teachers=TEACHERS)
    write_run(root, recipe("OKDDip", 0), "okddip", top1=0.96, networks=("student", "peer"), parameters=150_000)
    write_run(root, recipe("KD", 3, published=PUBLISHED), "kd-seed3", top1=0.1, status="unfinished", epochs=2)
    write_run(root, recipe("KD", 4, published=PUBLISHED), "kd-seed4", top1=0.1, status="failed")
    return root


def table(runs, tmp_path, **options):
    path = report([str(runs)], out=tmp_path / "report.csv", **options).path
    with open(path, newline="") as file:
        return {row["method"]: row for row in csv.DictReader(file)}


def files(runs, method):
    """(lines of metrics.jsonl, evaluation, result) of the three finished runs of a method."""
    found = []
    for seed in range(3):
        folder = runs / f"{method}-seed{seed}"
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        found.append((lines, *(json.loads((folder / f"{name}.json").read_text()) for name in ("evaluation", "result"))))
    return found


def test_every_number_of_the_table_equals_its_formula(runs, tmp_path):
    kd, base = files(runs, "kd"), files(runs, "supervised")
    row = table(runs, tmp_path)["KD"]
    last = np.array([lines[-1]["evaluation"]["student"]["top1"] for lines, *_ in kd])
    series = np.array([[line["evaluation"]["student"]["top1"] for line in lines] for lines, *_ in kd])
    other = np.array([lines[-1]["evaluation"]["student"]["top1"] for lines, *_ in base])
    interval = stats.ttest_ind(last, other, equal_var=False).confidence_interval(0.95)
    teacher = np.mean([max(t["top1"] for t in evaluation["teachers"].values()) for _, evaluation, _ in kd])
    final = [lines[-1]["evaluation"]["student"] for lines, *_ in kd]
    expected = {
        "n": 3,
        "top1_last": last.mean(),
        "top1_last_std": np.sqrt(((last - last.mean()) ** 2).sum() / 2),
        "top1_best": series.max(1).mean(),
        "top1_best_std": series.max(1).std(ddof=1),
        "top5": np.mean([f["top5"] for f in final]),
        "loss": np.mean([f["loss"] for f in final]),
        "ece": np.mean([f["ece"] for f in final]),
        "gain": last.mean() - other.mean(),
        "gain_low": interval.low,
        "gain_high": interval.high,
        "teacher_top1": teacher,
        "gap_closed": (last.mean() - other.mean()) / (teacher - other.mean()),
        "agreement_top1": np.mean([f["agreement"][t]["top1"] for f in final for t in TEACHERS]),
        "agreement_kl": np.mean([f["agreement"][t]["kl"] for f in final for t in TEACHERS]),
        "parameters": 78_000,
        "multiply_adds": 12_000_000,
        "hours": np.mean([result["seconds"] * 2 / 3600 for *_, result in kd]),
        "images_per_second": np.mean([result["images_per_second"] for *_, result in kd]),
    }
    for name, value in expected.items():
        assert float(row[name]) == pytest.approx(value, rel=1e-12), name
    best = sorted({float(np.argmax(s) + 1) for s in series})
    texts = {
        "last_epoch": "4",
        "best_epochs": ", ".join(f"{e:g}" for e in best),
        "baseline": "Supervised",
        "hours_unit": "CPU-h",
    }
    texts |= {"published": "top1=0.7914", "published_source": PUBLISHED[0]["source"], "split": "test", "data": "digits"}
    assert {name: row[name] for name in texts} == texts


def test_the_interval_equals_the_formula(runs):
    """Welch's interval by hand, so that the table does not rest on one function of SciPy."""
    (kd,) = [item for item in make([str(runs)]).entries if item.row.method == "KD"]
    a = [run.evaluations[-1][1]["student"].top1 for run in kd.row.runs]
    b = [run.evaluations[-1][1]["student"].top1 for run in kd.baseline.row.runs]
    va, vb = np.var(a, ddof=1) / 3, np.var(b, ddof=1) / 3
    freedom = (va + vb) ** 2 / (va**2 / 2 + vb**2 / 2)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(va + vb)
    assert (kd.gain.low, kd.gain.high) == pytest.approx(
        (kd.gain.difference - half, kd.gain.difference + half), rel=1e-9
    )


def test_one_run_without_a_baseline_has_no_gain(runs, tmp_path):
    rows = table(runs, tmp_path)
    assert rows["OKDDip"]["n"] == "1" and rows["OKDDip"]["top1_last_std"] == rows["OKDDip"]["gain_low"] == ""
    assert rows["Supervised"]["gain"] == rows["Supervised"]["teacher_top1"] == ""
    only = table(runs / "okddip", tmp_path)["OKDDip"]
    assert only["gain"] == only["baseline"] == ""


def test_another_baseline_can_be_chosen(runs, tmp_path):
    rows = table(runs, tmp_path, baseline="kd")
    kd, supervised = float(rows["KD"]["top1_last"]), float(rows["Supervised"]["top1_last"])
    assert float(rows["Supervised"]["gain"]) == pytest.approx(supervised - kd) and rows["KD"]["gain"] == ""
    with pytest.raises(UserError, match="must be one of KD, OKDDip, Supervised, kd, okddip, supervised"):
        table(runs, tmp_path, baseline="dkd")


def test_curves_classes_and_calibration_are_shown(runs):
    (kd,) = [item for item in make([str(runs)]).entries if item.row.method == "KD"]
    loaded = files(runs, "kd")
    series = np.array([[line["evaluation"]["student"]["top1"] for line in lines] for lines, *_ in loaded])
    curve = deployed_curve(kd.row)
    assert curve.epochs == [1, 2, 3, 4]
    np.testing.assert_allclose([curve.mean, curve.low, curve.high], [series.mean(0), series.min(0), series.max(0)])
    weights = np.mean([[line["notes"]["teacher_weights"] for line in lines] for lines, *_ in loaded], axis=0)
    np.testing.assert_allclose(np.array([c.mean for c in line_curves(kd.row, "notes")["teacher_weights"]]).T, weights)
    assert [c.name for c in line_curves(kd.row, "notes")["teacher_weights"]] == list(TEACHERS)
    kl = np.mean([[line["terms"]["kl"] for line in lines] for lines, *_ in loaded], axis=0)
    np.testing.assert_allclose(line_curves(kd.row, "terms")["kl"][0].mean, kl)

    def per_class(method):
        return np.mean(
            [evaluation["networks"]["student"]["per_class"] for _, evaluation, _ in files(runs, method)], axis=0
        )

    gains = class_gains(kd)
    assert list(gains)[3] == "digit 3"
    np.testing.assert_allclose(list(gains.values()), per_class("kd") - per_class("supervised"))

    bins = np.array([evaluation["networks"]["student"]["calibration"] for _, evaluation, _ in loaded])
    expected = []
    for k in range(bins.shape[1]):
        count = bins[:, k, 0]
        if count.sum():
            expected.append([count.sum(), count @ bins[:, k, 1] / count.sum(), count @ bins[:, k, 2] / count.sum()])
    np.testing.assert_allclose(calibration(kd.row), expected)


def test_every_network_has_its_curve(runs):
    (item,) = [item for item in make([str(runs)]).entries if item.row.method == "OKDDip"]
    assert [curve.name for curve in accuracy_curves(item.row)] == ["student", "peer"]


def test_runs_folders_and_globs_are_collected(runs, tmp_path):
    assert len(make([str(runs), str(runs / "kd-seed0")]).entries) == 3, "each run once"
    for wrong in (tmp_path / "absent", tmp_path):
        if wrong == tmp_path:
            wrong = tmp_path / "empty"
            wrong.mkdir()
        with pytest.raises(UserError, match=str(wrong)):
            make([str(wrong)])
    with pytest.raises(UserError, match=r"--out a.pdf: the suffix must be one of .html, .md, .csv, .tex"):
        report([str(runs)], out=Path("a.pdf"))


def test_a_search_is_reported(tmp_path):
    folder = write_search(tmp_path)
    (trials,) = make([str(tmp_path)]).searches
    with open(folder / "trials.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"]]
    scores = [float(row["metric"]) for row in rows]
    assert trials.best == rows[int(np.argmax(scores))]["trial"] and [t["trial"] for t in trials.others] == ["t98"]
    by_name = {field.name: field for field in trials.fields}
    alpha = stats.spearmanr([float(row["method.alpha"]) for row in rows], scores).statistic
    assert by_name["method.alpha"].correlation == pytest.approx(alpha)
    assert by_name["method.temperature"].importance > 0.8, "the metric was made from the temperature"
    assert sum(field.importance for field in trials.fields) == pytest.approx(1)
    assert by_name["optimizer.learning_rate"].log and by_name["schedule"].choices == ["cosine", "steps"]


@pytest.mark.parametrize(("tied", "words"), [(2, "B0 (p = 0.50) and B1 (p = 0.50)"), (9, "9 of the 10 other rows")])
def test_indistinguishable_rows_are_named_or_counted(tied, words):
    rows = [("A", "best", 1.0), *((f"B{i}", "tied", 0.5) for i in range(tied)), ("C", "worse", 0.01)]
    said = comparison([SimpleNamespace(label=label, mark=mark, p=p) for label, mark, p in rows])
    assert said.startswith(f"A has the highest mean. {words}") and "can't be distinguished from it" in said


def test_trained_teachers_are_rows_only_if_alone(tmp_path, recipe):
    for name, method in (("teachers/big-1", "Supervised"), ("kd", "KD")):
        write_run(tmp_path, recipe(method, 0), name, top1=0.9)
    assert [item.row.runs[0].name for item in make([str(tmp_path)]).entries] == ["kd"]
    assert [item.row.runs[0].name for item in make([str(tmp_path / "teachers")]).entries] == ["teachers/big-1"]
