"""Damaged runs are named and left out; a report is written completely or not at all, and contains no active content."""

import csv
import io
import os
import random
from pathlib import Path

import pytest

from raykd import UserError
from raykd.commands.report import run as command
from raykd.reports.make import make
from raykd.reports.report import WRITERS, report
from tests.support.synthetic_runs import new_recipe, write_run, write_search, write_study


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "runs"
    for seed in range(2):
        write_run(root, new_recipe("KD", seed), f"kd-seed{seed}")
    return root


@pytest.mark.parametrize(
    "file, content",
    [
        ("recipe.json", b"{"),
        ("recipe.json", b'{"name": "other"}'),
        ("result.json", b'{"status": "done"}'),
        ("metrics.jsonl", b'{"epoch": 1}\nnonsense\n{"epoch": 2}\n'),
        ("metrics.jsonl", b""),
        ("evaluation.json", b"\x00"),
        ("evaluation.json", b"[" * 100_000),
    ],
)
def test_a_damaged_run_is_left_out(folder, tmp_path, capsys, file, content):
    (folder / "kd-seed1" / file).write_bytes(content)
    assert command([str(folder), "--out", str(tmp_path / "a.md")]) == 0
    said = capsys.readouterr()
    assert f"left out: {folder / 'kd-seed1' / file}" in said.err and "1 row of 1 run, 1 left out" in said.out
    text = (tmp_path / "a.md").read_text()
    assert "| KD (kd) | " in text and "Left out" in text and file in text


def test_a_run_with_inconsistent_files_is_left_out(folder):
    text = (folder / "kd-seed1" / "metrics.jsonl").read_text()
    (folder / "kd-seed1" / "metrics.jsonl").write_text(text.replace('"student"', '"other"', 1))
    (line,) = make([str(folder)]).left_out
    assert line.endswith("metrics.jsonl: the evaluation at epoch 1 lacks student")


def test_a_report_without_readable_runs_is_rejected(folder):
    for seed in range(2):
        (folder / f"kd-seed{seed}" / "recipe.json").write_text("")
    with pytest.raises(UserError, match="no run can be read: .*kd-seed0/recipe.json is not valid JSON"):
        make([str(folder)])


def test_unreadable_files_never_block(folder):
    for name in ("recipe.json", "metrics.jsonl"):
        run = write_run(folder, new_recipe("KD", 7), f"fifo-{name}")
        (run / name).unlink()
        os.mkfifo(run / name)
    (folder / "loop").symlink_to(folder)
    (folder / "twice").symlink_to(folder / "kd-seed0")
    made = make([str(folder)])
    assert made.entries[0].last.n == 2 and len(made.left_out) == 2 and not made.repeats


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_full_disk_keeps_the_older_report(folder, tmp_path, monkeypatch, suffix):
    out = tmp_path / f"report{suffix}"
    out.write_text("the older report")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=f"can't write {out}: No space left on device"):
        report([str(folder)], out=out)
    assert out.read_text() == "the older report"


def test_names_are_escaped(tmp_path, capsys):
    evil = "=cmd|' /C calc'!A"
    run = write_run(tmp_path / "runs", new_recipe("KD", 0), "run", name=evil)
    write_run(tmp_path / "runs", new_recipe("DKD", 0), "other", name="<b>[x](javascript:a)\x1b[2J|`")
    (csv_file, md, tex) = (tmp_path / f"a{suffix}" for suffix in (".csv", ".md", ".tex"))
    for out in (csv_file, md, tex):
        report([str(run.parent)], out=out)
    cells = [cell for line in csv.reader(io.StringIO(csv_file.read_text())) for cell in line]
    assert f"'{evil}" in cells and not any(cell.startswith(("=", "@", "+")) for cell in cells)
    assert "\\<b\\>\\[x\\](javascript:a)\\\\x1b\\[2J\\|\\`" in md.read_text()
    assert "\x1b" not in md.read_text() + csv_file.read_text() + tex.read_text()


def test_a_damaged_study_is_left_out(tmp_path):
    root = write_study(
        tmp_path / "study", ["Supervised", "KD", "DKD"], ["a → b", "c → d"], missing={("KD", "a → b", 1)}
    )
    (root / "2" / "1" / "0" / "result.json").write_text("{")
    made = make([str(root)])
    (table,) = made.tables
    assert table.cells["KD", "a → b"].last.n == 2 and table.cells["DKD", "c → d"].last.n == 2
    assert {(m.row, m.status, m.reason) for m in table.missing} == {
        ("KD", "failed", "loss is not finite"),
        ("DKD", "lost", "no run that can be read"),
    }
    assert len(made.left_out) == 1 and table.baseline == "Supervised" and list(made.sections) == ["a → b", "c → d"]


@pytest.mark.parametrize(
    "old, new, message",
    [
        ('"baseline": "x"', '"baseline": "z"', "the baseline 'z' is not a row"),
        ('"seed": 1', '"seed": 0', "two runs of one cell and seed"),
        ('"run": "0/0/1"', '"run": "../1"', "is outside the study"),
        ('"rows": ["x"]', '"rows": ["x", "x"]', "two rows or two columns of one name"),
    ],
)
def test_an_invalid_study_is_rejected_in_one_line(tmp_path, old, new, message):
    root = write_study(tmp_path / "study", ["x"], ["a"], seeds=2)
    text = (root / "study.json").read_text()
    assert old in text
    (root / "study.json").write_text(text.replace(old, new, 1))
    (line,) = make([str(root)]).left_out
    assert message in line and "study.json" in line


def test_several_studies_keep_their_order(tmp_path):
    for name in "ab":
        write_study(tmp_path / name, [f"row of {name}"], ["x"], seeds=1, epochs=2)
    made = make([str(tmp_path)])
    assert [table.rows for table in made.tables] == [["row of a"], ["row of b"]]
    report([str(tmp_path)], out=tmp_path / "first.csv")
    assert "row of a" in (tmp_path / "first.csv").read_text()


def test_mutated_runs_searches_and_studies_are_read_or_left_out(tmp_path):
    """Changed, removed and duplicated bytes: every output is written, or one line says why not."""
    root = tmp_path / "study"
    write_study(root, ["x", "y"], ["a", "b"], seeds=1, epochs=3)
    write_search(root / "more")
    files = sorted(path for path in root.rglob("*") if path.is_file())
    rng = random.Random(1)
    for i in range(60):
        path = rng.choice(files)
        original = path.read_bytes()
        content = bytearray(original)
        at = rng.randrange(len(content))
        content[at : at + rng.choice((1, 1, 40))] = rng.choice((b"", b"\0", b'"', b"{", b"9e99", b"nan", b"\xff", b","))
        path.write_bytes(content)
        try:
            report([str(root)], out=tmp_path / f"a{list(WRITERS)[i % 4]}")
        except UserError as error:
            assert "\n" not in str(error)
        path.write_bytes(original)


def test_invalid_published_figures_are_rejected(tmp_path):
    from raykd.reports.tables.published import read_published

    path = tmp_path / "table.csv"
    head = "paper,table,dataset,teacher,student,method,metric,kind,mean,std,n,source,note\n"
    path.write_text(
        head
        + 'P,1,CIFAR-100,a,b,KD,top1,error,25.65,0.15,3,"src, p. 2",[copied] from CRD; best epoch\n'
        + "P,1,CIFAR-100,a,b,DKD,top1,accuracy,75.1,,,src,[own?] last or best epoch not said\n"
    )
    kd, dkd = (figure.quoted("row", "column") for figure in read_published(path))
    assert kd.value == pytest.approx(0.7435) and (kd.deviation, kd.n) == (pytest.approx(0.0015), 3)
    assert (kd.reporter, kd.epoch, dkd.reporter, dkd.epoch, dkd.n) == ("copied", "best", "own?", "", None)
    for wrong, message in (
        (head.replace("mean", "average"), "no mean, unknown 'average'"),
        (
            head + "P,1,C,a,b,KD,top1,accuracy,175,,,s,\n",
            "mean '175': Input should be less than or equal to 100",
        ),
        (head + "P,1,C,a,b,KD,top9,accuracy,75,,,s,\n", "row 2: metric 'top9': Input should be 'top1' or 'top5'"),
        (head + "P,1,C,a,b,KD,top1,accuracy,75,,x,s,\n", "row 2: n 'x': Input should be a valid integer"),
        (
            head + "P,1,C,a,b,KD,top1,accuracy,75,,3,s,[mine]\n",
            "reporter 'mine' is not one of own",
        ),
        (head + "P,1\n", "row 2: 2 cells, not 13"),
    ):
        path.write_text(wrong)
        with pytest.raises(UserError, match=message):
            read_published(Path(path))
