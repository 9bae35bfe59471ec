"""Training from Python, and the `Run` that it returns."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import raykd
from raykd.api.run import Run
from raykd.api.search import SearchResult
from raykd.api.starting.study import StudyResult
from raykd.launch.cluster.signals import Interrupted
from raykd.launch.jobs.submit import Submitted
from raykd.recipe.serial import from_dict, to_dict


def test_a_recipe_made_in_python_trains_and_resumes_by_name(recipe, run, capsys):
    assert run.result["status"] == "finished" and run.result["name"] == "digits/alone"
    assert run.recipe == recipe
    again = raykd.train(recipe, name="digits/alone", storage=Path(run.path).parents[1])
    assert again == run == raykd.load(run.path)
    with pytest.raises(raykd.UserError, match="another recipe"):
        raykd.train(raykd.change(recipe, {"seed": 3}), name="digits/alone", storage=Path(run.path).parents[1])
    with pytest.raises(raykd.UserError, match="name"):
        raykd.train(recipe)


def test_progress_can_be_turned_off(recipe, tmp_path, capsys):
    quick = raykd.change(recipe, {"epochs": 0.1})
    raykd.train(quick, name="shown", storage=tmp_path)
    assert "top-1" in capsys.readouterr().out
    raykd.train(quick, name="hidden", storage=tmp_path, show=False)
    assert capsys.readouterr().out == ""


def test_metrics_are_a_table_of_the_files_lines(run):
    lines = [json.loads(line) for line in (Path(run.path) / "metrics.jsonl").read_text().splitlines()]
    assert len(run.metrics) == len(lines)
    last = run.metrics.iloc[-1]
    assert last["terms/ce"] == lines[-1]["terms"]["ce"]
    assert last["evaluation/student/top1"] == lines[-1]["evaluation"]["student"]["top1"] == run.result["top1"]
    assert run.evaluation["networks"]["student"]["top1"] == run.result["top1"]


def test_the_loaded_student_equals_the_evaluated_network(run):
    from sklearn.datasets import load_digits

    from raykd.data.sources.digits import upscale

    pixels = upscale(load_digits().images[:4])
    student, (mean, std) = run.student(), (run.recipe.data.mean, run.recipe.data.std)
    images = (torch.from_numpy(pixels).float() / 255 - torch.tensor(mean)) / torch.tensor(std)
    with torch.inference_mode():
        wanted = student(images.permute(0, 3, 1, 2)).softmax(1).numpy()
    found = run.predict(pixels, top=10)
    assert [{p.name: p.probability for p in row} for row in found] == [
        pytest.approx({str(k): row[k] for k in range(10)}, abs=1e-5) for row in wanted
    ]
    (alone,) = run.predict(pixels[0], top=1)
    assert alone[0].name == found[0][0].name


def test_evaluating_again_gives_the_same_metrics(run):
    found = raykd.evaluate(run)
    assert found.networks["student"]["top1"] == pytest.approx(run.result["top1"])
    assert found.networks["student"]["loss"] == pytest.approx(run.result["loss"], rel=1e-5)


def test_a_run_can_be_used_as_a_teacher(recipe, run, tmp_path):
    teachers = raykd.Teachers(sources=(run,))
    taught = replace(recipe, method=raykd.KD.Config(), teachers=teachers, epochs=0.1)
    assert from_dict(json.loads(json.dumps(to_dict(taught)))) == taught
    after = raykd.train(taught, name="taught", storage=tmp_path, show=False)
    (teacher,) = after.evaluation["teachers"].values()
    assert teacher["path"] == run.path and teacher["top1"] == run.result["top1"]


def test_reports_and_exports_work_from_python(run, tmp_path):
    written = raykd.report(run, out=tmp_path / "report.md")
    assert "resnet8" in written.path.read_text()
    path = raykd.export(run, tmp_path / "student.safetensors")
    with np.testing.suppress_warnings():
        import safetensors.torch

        assert set(safetensors.torch.load_file(path)) == set(run.student().state_dict())
    with pytest.raises(raykd.UserError, match="suffix"):
        raykd.export(run, tmp_path / "student.exe")


def test_folders_that_are_not_runs_are_rejected(tmp_path):
    with pytest.raises(raykd.UserError, match="is not a run directory"):
        raykd.load(tmp_path)
    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(raykd.UserError, match="has no result"):
        _ = raykd.load(tmp_path).result


def test_stopped_training_raises_keyboard_interrupt():
    assert issubclass(Interrupted, KeyboardInterrupt)


def test_runs_are_listed_with_their_results(recipe, run, capsys, tmp_path):
    from raykd.__main__ import main

    assert main(["list", "runs", str(Path(run.path).parents[1])]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("digits/alone", "finished", "resnet8", f"{100 * run.result['top1']:.2f} %"))
    half = tmp_path / "half/way"
    half.mkdir(parents=True)
    (half / "recipe.json").write_text(json.dumps(to_dict(recipe)))
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "recipe.json").write_text("[]")
    assert main(["list", "runs", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "half/way" in said and "unfinished" in said and "can't be read" in said
    assert main(["list", "runs", str(tmp_path / "none")]) == 2


def test_a_new_user_has_no_runs_yet(capsys, tmp_path, monkeypatch):
    from raykd.__main__ import main

    monkeypatch.setenv("RAYKD_STORAGE", str(tmp_path / "runs"))
    assert main(["list", "runs"]) == 0
    assert "no runs in" in capsys.readouterr().out


def test_without_a_name_the_lists_are_listed(capsys):
    from raykd.__main__ import main

    assert main(["list"]) == 0
    said = capsys.readouterr().out
    assert "raykd list methods" in said and "raykd list runs" in said and len(said.splitlines()) < 10


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda run: run.predictor(batch_size=0), "batch_size: 0 must be at least 1"),
        (lambda run: run.predictor(device="gpu"), "device: 'gpu' is not of type 'auto' or 'cpu' or 'cuda'"),
        (lambda run: run.predict([], top=-1), "top: -1 must be at least 1"),
        (lambda run: raykd.evaluate(run, threads=10**9), "threads: 1000000000 must be from 0 to 1,024"),
        (lambda run: raykd.evaluate(run, batch_size=-3), "batch_size: -3 must be at least 0"),
        (lambda run: raykd.export(run, "x.onnx", calibration=0), "calibration: 0 must be at least 1"),
        (
            lambda run: raykd.export(run, "x.onnx", max_loss=float("nan")),
            "max_loss: nan must be a number that float32 can represent",
        ),
        (lambda run: raykd.tune("digits/search", samples=-1), "samples: -1 must be at least 0"),
        (lambda run: raykd.study("studies/digits", seeds=("0",)), "seeds.0: '0' is not of type int"),
        (lambda run: raykd.study("studies/digits", rows="KD"), "rows: 'KD' is not of type tuple[str, ...]"),
        (lambda run: raykd.study(None), "study: None is not of type str or Path"),
        (lambda run: raykd.load(None), "path: None is not of type str or Path"),
        (lambda run: raykd.load("a\0b"), "path: 'a\\x00b' must not contain a NUL"),
        (lambda run: raykd.load_recipe(5), "recipe: 5 is not of type str or Path"),
        (lambda run: raykd.train(None), "recipe: None is not of type Recipe or str or Path"),
        (lambda run: raykd.train("digits/kd", name=5), "name: 5 is not of type str"),
        (lambda run: raykd.train("digits/kd", storage=None), "storage: None is not of type str or Path"),
        (lambda run: raykd.evaluate(None), "run: None is not of type Run or str or Path"),
        (lambda run: raykd.evaluate(run, test="no"), "test: 'no' is not of type bool"),
        (lambda run: raykd.export(run, None), "to: None is not of type str or Path"),
        (lambda run: raykd.report(run, None), "run 1: None is not of type Run or str or Path"),
        (lambda run: raykd.report(run, baseline=5), "baseline: 5 is not of type str"),
        (lambda run: raykd.submit(None, address="http://x"), "recipe: None is not of type Recipe or str or Path"),
    ],
)
def test_arguments_are_validated_like_command_line_options(tmp_path, monkeypatch, call, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(raykd.UserError) as refused:
        call(raykd.Run(path=str(tmp_path)))
    assert str(refused.value).startswith(says) and not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (None, "images: None is neither an image nor a list of images"),
        (np.array(5), "images: array(5) is neither"),
        ([None], "picture 0 can't be read: a picture is a path, bytes, an array or an image of PIL, not NoneType"),
        (np.zeros((2, 8, 8, 3)), "picture 0 can't be read: its values are float64"),
        (b"", "picture 0 can't be read"),
    ],
)
def test_anything_but_an_image_is_rejected(run, images, says):
    with pytest.raises(raykd.UserError) as refused:
        run.predict(images)
    assert str(refused.value).startswith(says)


def test_a_run_shows_no_credentials():
    run = raykd.Run(path="memory://KEY:SECRET@bucket/kd")
    assert repr(run) == "Run(path='memory://***@bucket/kd')" and "SECRET" not in str(run)


def test_results_show_no_credentials_and_need_no_storage_to_be_shown():
    """As a notebook shows them; the storage may be unreachable."""
    path, address = "s3://KEY:SECRET@nowhere/kd", "http://USER:SECRET@nowhere:8265"
    of_study = StudyResult(path=path, runs={"a": Run(path=path)}, missing=("b: failed",))
    for result in (Run(path=path), SearchResult(path=path), of_study, Submitted("kd-1", address, None)):
        assert "SECRET" not in repr(result) and "***@nowhere" in repr(result) and type(result).__name__ in repr(result)


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_the_list_of_runs_breaks_no_number(width):
    from raykd.commands.list import _fitting
    from raykd.runs.listing import TITLES

    row = ("teachers/timm-resnet18-v2-719a7cf1c704", "unfinished", "Supervised", "timm:mobilenetv3_small_050")
    rows = [TITLES, (*row, "imagefolder things", "0", "12 of 100", "97.35 %", "2026-11-26 11:20")]
    shown = [TITLES[i] for i in _fitting(rows, width)]
    assert {"name", "status", "epochs", "top-1"} <= set(shown)
    folded = {"name": 26, "what": 14}
    assert sum(folded.get(title, len(rows[1][TITLES.index(title)]) + 2) for title in shown) <= max(width, 62)
    assert width < 200 or shown == list(TITLES)
