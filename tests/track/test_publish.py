"""W&B Reports, and W&B as a source of runs, against a local stub."""

import json
import sys

import pytest

from raykd import UserError
from raykd.reports.report import make, report
from raykd.track.run import start
from tests.support.synthetic_runs import write_run, write_search, write_study


@pytest.fixture
def runs(tmp_path, recipe):
    root = tmp_path / "runs"
    for seed in range(2):
        write_run(root, recipe("Supervised", seed), f"supervised-seed{seed}", top1=0.92, teachers=())
        write_run(root, recipe("KD", seed), f"kd-seed{seed}", top1=0.95)
    write_run(root, recipe("KD", 2), "kd-seed2", status="failed")
    return root


def test_a_report_is_saved_as_a_draft_and_updated(server, runs, tmp_path):
    out = tmp_path / "comparison.html"
    first = report([str(runs)], out=out, wandb=True)
    second = report([str(runs)], out=out, wandb=True)
    assert server.unknown == []
    ((key, saved),) = server.views.items()
    assert first.url == second.url and first.url.startswith(f"{server.url}/someone/raykd/reports/")
    assert [view["type"] for view in saved] == ["runs/draft"] * 2 and saved[1]["id"] == key
    spec = json.dumps(json.loads(saved[1]["spec"]))
    kd = next(item for item in first.report.entries if item.row.method == "KD")
    for part in (
        f"{100 * kd.last.mean:.2f} \\u00b1 {100 * kd.last.deviation:.2f}",
        "kd-seed1",
        "evaluation/student/top1",
    ):
        assert part in spec, part
    assert "kd-seed2" in spec and "failed" in spec


FIGURE = {"value": 0.7066, "n": 5, "reporter": "own", "epoch": "last", "source": "P, table 1"}


def test_a_study_is_published_with_table_figures_and_curves(server, tmp_path):
    published = [FIGURE | {"row": "KD", "column": "resnet56 → resnet20"}]
    rows, columns = ["Supervised", "KD"], ["resnet56 → resnet20", "vgg13 → vgg8"]
    missing = {("KD", "vgg13 → vgg8", 1)}
    root = write_study(tmp_path / "study", rows, columns, missing=missing, published=published)
    made = report([str(root)], out=tmp_path / "study.html", wandb=True).report
    assert server.unknown == []
    ((saved,),) = server.views.values()
    blocks = json.loads(saved["spec"])["blocks"]
    (table,) = made.tables
    text = json.dumps(blocks, ensure_ascii=False)
    for cell in table.cells.values():
        assert f"{100 * cell.last.mean:.2f}" in text
    for part in ("70.66", "P, table 1", "loss is not finite", "evaluation/student/top1", "terms/"):
        assert part in text, part
    runset, *_ = [each for block in blocks for each in block.get("metadata", {}).get("runSets", [])]
    filters, grouping = json.dumps(runset["filters"]), json.dumps(runset["grouping"])
    assert "a study" in filters and "group" in filters.lower()
    assert grouping.index("column") < grouping.index("row")


def test_a_search_is_published_with_its_trials(server, tmp_path):
    report([str(write_search(tmp_path))], out=tmp_path / "search.html", wandb=True)
    assert server.unknown == []
    ((saved,),) = server.views.values()
    panels = [
        panel
        for block in json.loads(saved["spec"])["blocks"]
        for panel in block.get("metadata", {}).get("panelBankSectionConfig", {}).get("panels", [])
    ]
    kinds = {panel["viewType"]: panel["config"] for panel in panels}
    axes = [column["accessor"] for column in kinds["Parallel Coordinates Plot"]["columns"]]
    assert [axis.split(":")[0] for axis in axes] == ["config"] * 4 + ["summary"]
    assert "overrides" in axes[0] and "temperature" in axes[0] and axes[-1] == "summary:top1"
    assert kinds["Parameter Importance"]["targetKey"] == "top1"
    assert "search" in saved["spec"]


def test_runs_can_be_reported_from_wandb(server, runs, recipe):
    here = {item.row.method: item for item in make([str(runs)]).entries}
    for folder in sorted(runs.iterdir()):
        own = json.loads((folder / "recipe.json").read_text())
        run = start(own | {"wandb": own["wandb"] | {"group": "digits"}}, name=folder.name, directory=folder)
        run.finish(json.loads((folder / "result.json").read_text())["status"])
    made = make(["wandb:someone/raykd/digits"])
    assert [record.name for record in made.open_runs] == ["kd-seed2"]
    assert {item.row.method: (item.last, item.best, item.gain) for item in made.entries} == {
        method: (item.last, item.best, item.gain) for method, item in here.items()
    }
    with pytest.raises(UserError, match="none with a recipe.json"):
        make(["wandb:someone/raykd/other"])
    with pytest.raises(UserError, match="ENTITY/PROJECT"):
        make(["wandb:raykd"])


def test_an_unreachable_server_is_reported_in_one_line(server, runs, tmp_path):
    server.kill()
    with pytest.raises(UserError, match="does not respond; the report is in"):
        report([str(runs)], out=tmp_path / "a.html", wandb=True)
    assert (tmp_path / "a.html").exists()


def test_a_missing_package_is_reported_before_anything_is_read(runs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    with pytest.raises(UserError, match=r"pip install 'raykd\[report\]'"):
        report([str(runs)], out=tmp_path / "a.html", wandb=True)
    assert not (tmp_path / "a.html").exists()
