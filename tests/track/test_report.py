"""Every number of the report, recomputed with NumPy and SciPy from the files of made-up run directories."""

import csv
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from scipy import stats

from raykd import UserError
from raykd.report.measures import accuracy_curves, calibration, class_gains, deployed_curve, line_curves
from raykd.report.report import COLUMNS, html, make, markdown, report
from raykd.report.svg import Axes, nice_ticks
from tests.track.synthetic import write_run, write_search

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


def test_every_number_of_the_table(runs, tmp_path):
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
    assert {name: row[name] for name in texts} == texts and set(row) == set(COLUMNS)


def test_interval_against_the_formula(runs):
    """Welch's interval by hand, so that the table does not rest on one function of SciPy."""
    (kd,) = [item for item in make([str(runs)]).entries if item.row.method == "KD"]
    a = [run.evaluations[-1][1]["student"]["top1"] for run in kd.row.runs]
    b = [run.evaluations[-1][1]["student"]["top1"] for run in kd.baseline.runs]
    va, vb = np.var(a, ddof=1) / 3, np.var(b, ddof=1) / 3
    freedom = (va + vb) ** 2 / (va**2 / 2 + vb**2 / 2)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(va + vb)
    assert (kd.gain.low, kd.gain.high) == pytest.approx(
        (kd.gain.difference - half, kd.gain.difference + half), rel=1e-9
    )


def test_what_one_run_and_no_baseline_leave_open(runs, tmp_path):
    rows = table(runs, tmp_path)
    assert rows["OKDDip"]["n"] == "1" and rows["OKDDip"]["top1_last_std"] == rows["OKDDip"]["gain_low"] == ""
    assert rows["Supervised"]["gain"] == rows["Supervised"]["teacher_top1"] == ""
    only = table(runs / "okddip", tmp_path)["OKDDip"]
    assert only["gain"] == only["baseline"] == ""


def test_other_baseline(runs, tmp_path):
    rows = table(runs, tmp_path, baseline="kd")
    kd, supervised = float(rows["KD"]["top1_last"]), float(rows["Supervised"]["top1_last"])
    assert float(rows["Supervised"]["gain"]) == pytest.approx(supervised - kd) and rows["KD"]["gain"] == ""
    with pytest.raises(UserError, match="takes one of KD, OKDDip, Supervised, kd, okddip, supervised"):
        table(runs, tmp_path, baseline="dkd")


def test_curves_classes_and_calibration(runs):
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
    assert gains[3][0] == "digit 3"
    np.testing.assert_allclose([gain for *_, gain in gains], per_class("kd") - per_class("supervised"))

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


def test_page_shows_the_numbers_and_needs_nothing(runs, tmp_path):
    write_search(runs)
    made = make([str(runs)])
    page = html(made)
    (kd,) = [item for item in made.entries if item.row.method == "KD"]
    text = " ".join(Text().read(page).split())
    for shown in (
        f"{100 * kd.last.mean:.2f} ± {100 * kd.last.deviation:.2f}",
        f"{100 * kd.best.mean:.2f} ± {100 * kd.best.deviation:.2f}",
        f"{100 * kd.gain.difference:+.2f} [{100 * kd.gain.low:+.2f}, {100 * kd.gain.high:+.2f}]",
        "79.14 Li et al. 2021, table 2",
        "2 runs are not finished and in no mean",
        "kd-seed3 unfinished 2 of 4",
        "kd-seed4 failed 4 of 4",
    ):
        assert shown in text, shown
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#)|@import|url\(|https?://""", page)
    assert "nan" not in re.findall(r"[a-z]+", text) and '"nan"' not in page
    assert "prefers-color-scheme: dark" in page and "@media print" in page and 'name="viewport"' in page


class Text(HTMLParser):
    def read(self, page):
        self.parts, self.skip = [], False
        self.feed(page)
        return " ".join(self.parts)

    def handle_starttag(self, tag, attributes):
        self.skip = tag in ("style", "script")

    def handle_data(self, data):
        if not self.skip:
            self.parts.append(data)


def test_names_are_text_not_markup(tmp_path, recipe):
    evil = "<img src=x onerror=alert(1)>"
    write_run(
        tmp_path, recipe("KD", 0), "a", networks=(evil, "peer"), teachers=(evil,), wandb_url="javascript:alert(1)"
    )
    page = html(make([str(tmp_path)]))
    assert "<img" not in page and "javascript:" not in page and "&lt;img" in page


def test_markdown(runs):
    made = make([str(runs)])
    text = markdown(made)
    (line,) = [line for line in text.splitlines() if line.startswith("| KD ")]
    (kd,) = [item for item in made.entries if item.row.method == "KD"]
    assert f"{100 * kd.last.mean:.2f} ± {100 * kd.last.deviation:.2f} (epoch 4)" in line
    assert "| kd-seed4 | failed | 4 of 4 |" in text


def test_mixed_recipes_under_one_name(tmp_path, recipe):
    method = {"class": "raykd.methods.kd:KD.Config", "temperature": 2.0}
    write_run(tmp_path, recipe("KD", 0), "kd-seed0")
    write_run(tmp_path, recipe("KD", 1) | {"method": method, "workers": 5}, "kd-seed1")
    with pytest.raises(UserError, match=r"'kd' but differ in method.temperature \(4.0, 2.0\): give"):
        make([str(tmp_path)])


def test_names_of_their_own_are_rows_of_their_own(tmp_path, recipe):
    method = {"class": "raykd.methods.kd:KD.Config", "temperature": 2.0}
    for seed in (0, 1):
        write_run(tmp_path, recipe("KD", seed), f"kd-seed{seed}")
        write_run(tmp_path, recipe("KD", seed) | {"method": method}, f"kd-t2-seed{seed}")
    write_run(tmp_path, recipe("KD", 7), "a name of its own")
    assert {item.row.label: item.last.n for item in make([str(tmp_path)]).entries} == {
        "KD (temperature 4.0)": 3,
        "KD (temperature 2.0)": 2,
    }


@pytest.mark.parametrize(
    "file, content, message",
    [
        ("recipe.json", "{", "recipe.json"),
        ("recipe.json", '{"name": "other"}', "recipe.json is not a raykd recipe"),
        ("recipe.json", "[]", "recipe.json holds no JSON object"),
        ("result.json", '{"status": "done"}', "result.json is not a raykd result"),
        ("metrics.jsonl", '{"epoch": 1}\nnonsense\n{"epoch": 2}\n', "metrics.jsonl, line 2"),
        ("metrics.jsonl", "", "metrics.jsonl has no evaluation"),
        ("evaluation.json", "\x00", "evaluation.json"),
    ],
)
def test_broken_files_are_named(tmp_path, recipe, file, content, message):
    folder = write_run(tmp_path, recipe(), "kd-seed0")
    (folder / file).write_text(content)
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        make([str(tmp_path)])
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_torn_last_line_is_left_out(tmp_path, recipe):
    folder = write_run(tmp_path, recipe(), "kd-seed0", status="unfinished")
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 5.0, "eval')
    assert make([str(tmp_path)]).open_runs[0].lines[-1]["epoch"] == 4


def test_sources(runs, tmp_path):
    assert len(make([str(runs), str(runs / "kd-seed0")]).entries) == 3, "each run once"
    for wrong in (tmp_path / "absent", tmp_path):
        if wrong == tmp_path:
            wrong = tmp_path / "empty"
            wrong.mkdir()
        with pytest.raises(UserError, match=str(wrong)):
            make([str(wrong)])
    with pytest.raises(UserError, match=r"--out a.pdf: a report is .html, .md, .csv"):
        from pathlib import Path

        report([str(runs)], out=Path("a.pdf"))


def test_search(tmp_path):
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
    page = html(make([str(tmp_path)]))
    assert page.count('class="trial') == len(rows) and "loss is not finite" in page


def test_axes():
    assert nice_ticks(0.931, 0.957) == [0.93, 0.94, 0.95, 0.96]
    ticks = nice_ticks(0.5, 0.5)
    assert ticks[0] < 0.5 < ticks[-1]
    axes = Axes([1, 1000], [0, 1], x_label="", y_label="", log_x=True)
    assert axes.x(31.6227766) == pytest.approx((axes.x(1) + axes.x(1000)) / 2)
