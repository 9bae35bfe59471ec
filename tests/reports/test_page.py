"""The page and its figures: every number is present, nothing is downloaded or executed, and nothing is repeated."""

import json
import re
from html.parser import HTMLParser

import pytest

from raykd.reports.drawing.axes import Axes, nice_ticks, spread_out
from raykd.reports.drawing.curves import curve
from raykd.reports.drawing.lines import lines
from raykd.reports.drawing.ranks import critical_difference
from raykd.reports.drawing.scatter import Point, scatter
from raykd.reports.drawing.svg import look
from raykd.reports.make import make
from raykd.reports.output import text
from raykd.reports.output.columns import columns
from raykd.reports.output.page import classes, page
from raykd.reports.tables.statistics import Ranking
from tests.reports.test_report import runs  # noqa: F401  a fixture
from tests.support.synthetic_runs import write_run, write_search


class Text(HTMLParser):
    def read(self, page):
        self.parts, self.skip = [], False
        self.feed(page)
        return " ".join(" ".join(self.parts).split())

    def handle_starttag(self, tag, attributes):
        self.skip = tag in ("style", "script")

    def handle_data(self, data):
        if not self.skip:
            self.parts.append(data)


def test_the_page_shows_the_numbers_and_is_self_contained(runs):  # noqa: F811
    write_search(runs)
    made = make([str(runs)])
    content = page(made)
    (kd,) = [item for item in made.entries if item.label == "KD"]
    shown = Text().read(content)
    for part in (
        f"{100 * kd.last.mean:.2f} ± {100 * kd.last.deviation:.2f}",
        f"{100 * kd.best.mean:.2f} ± {100 * kd.best.deviation:.2f}",
        f"{text.points(kd.gain.difference)} [{text.points(kd.gain.low)}, {text.points(kd.gain.high)}]",
        "79.14 Li et al. 2021, table 2",
        "2 runs are not finished and are not counted",
        "kd-seed3 unfinished 2 of 4",
        "kd-seed4 failed 4 of 4",
        "loss is not finite",
    ):
        assert part in shown, part
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#)|@import|url\(|https?://""", content)
    assert "nan" not in re.findall(r"[a-z]+", shown) and '"nan"' not in content
    assert "prefers-color-scheme: dark" in content and "@media print" in content and 'name="viewport"' in content
    assert content.count('class="trial') == 24
    assert "method.<wbr>temperature" in content and "24 trials with a result" in shown


def test_names_are_escaped(tmp_path, recipe):
    evil = "<img src=x onerror=alert(1)>"
    write_run(
        tmp_path, recipe("KD", 0), "a", networks=(evil, "peer"), teachers=(evil,), wandb_url="javascript:alert(1)"
    )
    content = page(make([str(tmp_path)]))
    assert "<img" not in content and "javascript:" not in content and "&lt;img" in content


def test_empty_columns_are_omitted(runs):  # noqa: F811
    found = columns(make([str(runs)]).entries)
    titles = [column.title for column in found.shown]
    assert titles[:3] == ["method", "top-1 %", "gain"] and "restarts" not in titles, "the best epoch is the last one"
    assert not any(column.empty for column in found.shown)
    assert found.shown[1].small == "last epoch: 4" and "parameters" in titles, "they differ"


def test_common_settings_are_stated_once(tmp_path, recipe):
    for seed in range(2):
        write_run(tmp_path, recipe("Supervised", seed), f"supervised-{seed}", teachers=())
        write_run(tmp_path, recipe("KD", seed), f"kd-{seed}")
    found = columns(make([str(tmp_path)]).entries)
    assert {"n = 2", "parameters = 78,000"} <= set(found.same)
    assert "teacher" in [column.title for column in found.shown], "only one row has a teacher"


def test_classes_have_one_order_and_one_scale(runs):  # noqa: F811
    found = classes(make([str(runs)]).entries)
    assert [name for name, _ in found["rows"]] == [f"digit {i}" for i in range(10)] and found["hidden"] == 0
    bars = [bar for _, row in found["rows"] for bar in row]
    assert (
        max(share for _, share in bars) == pytest.approx(1) and len({round(abs(g) / s, 9) for g, s in bars if s}) == 1
    )


def test_whole_epochs_are_shown_as_integers(tmp_path, recipe):
    """A last step of whole batches ends a little before the epoch's end; a run that stopped within one does not."""
    folder = write_run(tmp_path, recipe(), "kd", epochs=3)
    written = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line, epoch in zip(written, (0.997, 1.99, 2.5), strict=True):
        line["epoch"] = epoch
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in written))
    (item,) = make([str(tmp_path)]).entries
    assert [epoch for epoch, _ in item.row.runs[0].evaluations] == [1, 2, 2.5]


def test_ticks_are_round_numbers():
    assert nice_ticks(0.931, 0.957) == [0.935, 0.94, 0.945, 0.95, 0.955]
    assert nice_ticks(1, 4, whole=True) == [1, 2, 3, 4] and nice_ticks(1, 2, whole=True) == [1, 2]
    assert all(tick == int(tick) for end in range(2, 400) for tick in nice_ticks(1, end, whole=True))
    axes = Axes((1, 1000), (0, 1), x_label="", y_label="", log_x=True)
    assert axes.x(31.6227766) == pytest.approx((axes.x(1) + axes.x(1000)) / 2)
    assert Axes((3, 3), (0.5, 0.5), x_label="", y_label="").x(3) > 0


def test_no_axis_exceeds_100_percent():
    drawing = lines([curve("a", [[(1, 0.2), (2, 0.995)]])], y_label="top-1", y_format=str, most=1)
    assert max(float(t) for t in re.findall(r'class="tick end"[^>]*>([\d.]+)<', drawing)) <= 1


def test_the_teacher_is_a_line():
    drawing = lines([curve("a", [[(1, 0.2), (2, 0.5)]])], y_label="top-1", reference=("teacher", 0.9))
    assert 'class="reference"' in drawing and "teacher 0.9" in drawing


def test_many_series_are_labelled_and_no_colour_repeats():
    curves = [curve(f"method {i}", [[(1, 0.2), (2, 0.5 + i / 100)]]) for i in range(20)]
    drawing = lines(curves, y_label="top-1")
    places = [float(y) for y in re.findall(r'class="label" x="[\d.]+" y="([\d.]+)"', drawing)]
    assert len(places) == 20 and min(abs(a - b) for a, b in zip(sorted(places), sorted(places)[1:])) > 13
    assert len({look(i, 20) for i in range(20)}) == 20 and len({look(i, 8) for i in range(8)}) == 8
    named = scatter([Point(c.name, i, 0.5, 0.01) for i, c in enumerate(curves)], x_label="hours", y_label="top-1")
    assert all(f">{c.name}</text>" in named for c in curves)


def test_labels_do_not_overlap():
    assert spread_out([50, 10, 12, 11], 10, 0, 100) == [50, 10, 30, 20]
    assert spread_out([98, 99, 100], 10, 0, 100) == [80, 90, 100]


def test_long_curves_are_thinned():
    thin = curve("a", [[(e, float(e == 70_001)) for e in range(100_000)]])
    assert len(thin.epochs) <= 120 and thin.epochs[-1] == 99_999 and max(thin.high) == 1


def test_the_critical_difference_joins_indistinguishable_rows():
    drawing = critical_difference(["a", "b", "<c>"], Ranking([1.0, 1.5, 3.0], 8, 0.01, 1.2))
    assert drawing.count('class="clique"') == 1 and "&lt;c&gt;" in drawing and "critical difference 1.20" in drawing


def test_accuracy_is_plotted_against_measured_latency(tmp_path, recipe):
    """Of students and teachers, as deployment.json has them, and on which machine."""
    write_run(tmp_path, recipe("KD"), "kd", top1=0.91)
    write_run(tmp_path, recipe("Supervised"), "alone", top1=0.88)
    assert "against latency" not in page(make([str(tmp_path)]))
    costs = {"parameters": 1, "flops": 1, "file_bytes": 1, "memory_bytes": 1}
    seconds = {"student": (0.91, 0.0021), "resnet56": (0.93, 0.0084)}
    networks = [
        {"name": name, "top1": top1, **costs, "latencies": [{"batch": 1, "threads": 1, "seconds": latency}]}
        for name, (top1, latency) in seconds.items()
    ]
    found = {"machine": "a <fast> CPU", "threads": 2, "networks": networks}
    (tmp_path / "kd/deployment.json").write_text(json.dumps(found))
    shown = page(make([str(tmp_path)]))
    assert "Top-1 against latency" in shown and "teacher resnet56: 93" in shown and "a &lt;fast&gt; CPU" in shown
    assert "2.10" in shown
