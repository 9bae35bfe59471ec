"""Reading a run's files: raykd's own are read back, everything else is rejected in one line that names the file."""

import json
import os
import random

import pytest

from raykd import UserError
from raykd.runs.results.bounded import read_local
from raykd.runs.results.read import read_evaluation, read_metrics, read_recipe, read_result
from raykd.storage.folder import Folder
from tests.support.synthetic_runs import new_recipe, write_run

READERS = {
    "recipe.json": read_recipe,
    "metrics.jsonl": read_metrics,
    "evaluation.json": read_evaluation,
    "result.json": read_result,
}


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path, new_recipe(), "kd-seed0", networks=("student", "peer"))


def refusal(run, name, content):
    """The line that a file's content is refused with."""
    (run / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        READERS[name](Folder(run))
    assert str(run / name) in str(caught.value) and "\n" not in str(caught.value) and "\x1b" not in str(caught.value)
    return str(caught.value)


def test_results_are_read_as_written(run):
    folder, own = Folder(run), json.loads((run / "evaluation.json").read_text())
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert read_recipe(folder) == json.loads((run / "recipe.json").read_text())
    assert [line.evaluation["peer"].top1 for line in read_metrics(folder)] == [
        line["evaluation"]["peer"]["top1"] for line in lines
    ]
    assert read_metrics(folder)[2].notes == lines[2]["notes"] and read_metrics(folder)[1].terms == lines[1]["terms"]
    assert read_evaluation(folder).networks["student"].per_class == own["networks"]["student"]["per_class"]
    assert read_evaluation(folder).teachers["teacher"].parameters == 500_000
    assert read_result(folder).seconds == json.loads((run / "result.json").read_text())["seconds"]


def test_an_unfinished_run_has_no_result(tmp_path):
    run = write_run(tmp_path, new_recipe(), "kd", status="unfinished")
    assert read_result(Folder(run)) is read_evaluation(Folder(run)) is None
    (run / "metrics.jsonl").unlink()
    assert read_metrics(Folder(run)) == []
    with pytest.raises(UserError, match="is not a run directory: it has no recipe.json"):
        read_recipe(Folder(tmp_path))


def test_custom_metrics_are_read(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line["evaluation"]["student"]["brier"] = 0.25
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_metrics(Folder(run))[-1].evaluation["student"].metric("brier") == 0.25


def test_later_lines_of_an_epoch_replace_earlier_ones(run):
    first = (run / "metrics.jsonl").read_text().splitlines()[0]
    with open(run / "metrics.jsonl", "a") as file:
        file.write(first.replace('"step": 21', '"step": 22') + "\n" + first[:40])  # the last line is torn
    lines = read_metrics(Folder(run))
    assert [line.epoch for line in lines] == [1, 2, 3, 4] and lines[0].step == 22


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("recipe.json", "{", "Expecting property name"),
        ("recipe.json", "[]", "not a JSON object"),
        ("recipe.json", '{"name": "other"}', "method: Field required"),
        ("recipe.json", "[" * 100_000, "recursion"),
        ("result.json", '{"status": "done", "name": "a", "seconds": 1, "workers": 1}', "status: Input should be"),
        ("result.json", '{"status": "finished", "name": "a", "seconds": Infinity, "workers": 1}', "seconds: Input"),
        ("result.json", '{"status": "finished", "name": "a", "seconds": 1, "workers": "2"}', "workers: Input"),
        ("result.json", '{"a": ' + "[" * 100_000, "recursion limit"),
        ("result.json", '{"seconds": ' + "9" * 5000 + "}", "number out of range"),
        ("result.json", b"\xff\xfe\x00", "Invalid JSON"),
        ("evaluation.json", '{"split": "test", "class_names": [], "networks": {}}', "networks: "),
        ("evaluation.json", "\x1b[31m", "Invalid JSON"),
        ("metrics.jsonl", '{"epoch": 1}\nnonsense\n{"epoch": 2}\n', "line 2: Invalid JSON"),
        ("metrics.jsonl", '{"epoch": NaN}\n', "line 1: epoch"),
        ("metrics.jsonl", '{"epoch": 1, "evaluation": {"a": {"top1": 1.5}}}', "line 1: evaluation.a.top1: Input"),
    ],
)
def test_damaged_files_are_named_in_one_line(run, name, content, message):
    assert message in refusal(run, name, content)


def test_classes_must_agree(run):
    own = json.loads((run / "evaluation.json").read_text())
    own["networks"]["peer"]["per_class"].pop()
    assert "peer has 9 classes, class_names 10" in refusal(run, "evaluation.json", json.dumps(own))


def test_only_regular_files_of_limited_size_are_read(run, tmp_path):
    for name in READERS:
        (run / name).unlink()
        os.mkfifo(run / name)
        with pytest.raises(UserError, match="not a regular file"):
            READERS[name](Folder(run))
    with pytest.raises(UserError, match="not a regular file"):
        read_local(tmp_path, 10)
    sparse = tmp_path / "sparse"
    with open(sparse, "wb") as file:
        file.truncate(2**40)
    with pytest.raises(UserError, match="1,099,511,627,776 bytes, more than the 1,000"):
        read_local(sparse, 1000)


def test_text_is_printable(run):
    own = json.loads((run / "result.json").read_text()) | {"name": "a\x1b]0;b\x07\n\u202ec\x00 µ → 学"}
    (run / "result.json").write_text(json.dumps(own))
    assert read_result(Folder(run)).name == "a\\x1b]0;b\\x07 \\u202ec\\x00 µ → 学"


def test_mutated_files_are_read_or_rejected(run):
    """Bytes changed, cut out and doubled: a value or one line, never another exception."""
    rng = random.Random(0)
    for name, reader in READERS.items():
        original = (run / name).read_bytes()
        for _ in range(150):
            content = bytearray(original)
            for _ in range(rng.randint(1, 4)):
                at = rng.randrange(len(content))
                what = rng.choice((b"", b"\0", b'"', b"{", b"1e999", b"null", b"-", bytes([rng.randrange(256)])))
                content[at : at + rng.choice((1, 1, 30))] = what
            (run / name).write_bytes(content)
            try:
                reader(Folder(run))
            except UserError as error:
                assert "\n" not in str(error)
