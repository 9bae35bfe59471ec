"""The main job through the command line, on Ray; each test continues from the previous one."""

import json

import pytest
import safetensors.torch
import torch

from raykd.contract import Placement
from raykd.data.loader import TestLoader
from raykd.data.storage.prepare import prepare
from raykd.models import create
from raykd.recipes.digits.kd import recipe as kd

QUICK = ("--epochs", 3, "--teachers.sources.0.recipe.epochs", 1)
RESULT = (
    "name method status epochs seed workers restarts top1 top1_best top5 loss networks seconds images_per_second "
    "parameters git wandb_url"
).split()


@pytest.fixture(scope="module")
def first(raykd):
    return raykd("train", "recipes/digits/kd.py", *QUICK)


def test_the_teacher_is_trained_first_then_two_workers_distil(raykd, first):
    result = raykd.json("digits/kd/result.json")
    assert list(result) == RESULT
    assert (result["status"], result["method"], result["workers"], result["restarts"]) == ("finished", "KD", 2, 0)
    assert 0 <= result["top1"] <= result["top1_best"] <= 1
    (teacher,) = (raykd.storage / "teachers").iterdir()
    assert json.loads((teacher / "result.json").read_text())["method"] == "Supervised"
    for said in ("teacher", "student distilled", "resnet20", "resnet8", "78,042", str(raykd.storage / "digits/kd")):
        assert said in first


def test_the_run_directory_has_the_documented_files(raykd, first):
    run = raykd.storage / "digits/kd"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [round(line["epoch"]) for line in lines] == [1, 2, 3]
    assert set(lines[-1]["terms"]) == {"ce", "kd"} and lines[-1]["loss"] == pytest.approx(
        sum(lines[-1]["terms"].values())
    )
    assert lines[-1]["evaluation"]["student"]["top1"] == raykd.json("digits/kd/result.json")["top1"]
    assert (run / "source/recipes/digits/kd.py").is_file()
    assert raykd.json("digits/kd/recipe.json")["epochs"] == 3
    assert len(list((run / "checkpoints").iterdir())) in (2, 3)


def test_the_student_file_needs_no_training_code(raykd, first):
    """Its accuracy on the test split, measured here with the plain network, is the result's."""
    run = raykd.storage / "digits/kd"
    model = create("resnet8", 10, image_size=32).model
    model.load_state_dict(safetensors.torch.load_file(run / "student.safetensors"))
    data = TestLoader(kd.data, prepare(kd.data), Placement(torch.device("cpu"), 1), batch_size=90)
    with torch.inference_mode():
        right = sum((model.eval()(b.images).argmax(1) == b.labels).sum().item() for b in data.batches())
    assert right / 450 == pytest.approx(raykd.json("digits/kd/result.json")["top1"])


def test_a_finished_run_is_not_repeated_and_its_teacher_is_reused(raykd, first):
    before = raykd.json("digits/kd/result.json")
    again = raykd("train", "recipes/digits/kd.py", *QUICK)
    assert "already trained" in again and "already finished" in again
    assert raykd.json("digits/kd/result.json") == before


def test_another_recipe_of_the_same_name_is_rejected(raykd, first):
    said = raykd("train", "recipes/digits/kd.py", *QUICK, "--method.temperature", 2, status=2)
    assert "method.temperature" in said and "--name" in said and said.count("\n") == 1


def test_eval_repeats_the_results_metrics(raykd, first):
    output = raykd("eval", raykd.storage / "digits/kd")
    assert f"{100 * raykd.json('digits/kd/result.json')['top1']:.2f} %" in output


@pytest.mark.parametrize("suffix", ["safetensors", "onnx", "pt2"])
def test_the_student_is_exported(raykd, first, suffix, tmp_path):
    path = tmp_path / f"student.{suffix}"
    raykd("export", raykd.storage / "digits/kd", "--to", path)
    images = torch.randn(5, 3, 32, 32)
    model = create("resnet8", 10, image_size=32).model
    model.load_state_dict(safetensors.torch.load_file(raykd.storage / "digits/kd/student.safetensors"))
    wanted = model.eval()(images).detach()
    if suffix == "safetensors":
        model.load_state_dict(safetensors.torch.load_file(path))
        with safetensors.safe_open(path, "pt") as file:
            found, about = model(images), file.metadata()
    elif suffix == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {"images": images.numpy()})
        found, about = torch.from_numpy(found), session.get_modelmeta().custom_metadata_map
    else:
        files = {"raykd.json": ""}
        found = torch.export.load(path, extra_files=files).module()(images)
        about = json.loads(files["raykd.json"])
    recipe = raykd.json("digits/kd/recipe.json")
    assert json.loads(about["raykd.classes"]) == list("0123456789")
    assert json.loads(about["raykd.mean"]) == recipe["data"]["mean"] and about["raykd.image_size"] == "32"
    assert float(about["raykd.top1"]) == raykd.json("digits/kd/result.json")["top1"]
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


def test_a_recipe_with_an_own_method_trains_in_another_folder(raykd, first, tmp_path):
    """On two Ray workers, with nothing of raykd changed, started from elsewhere."""
    (tmp_path / "my_method.py").write_text(
        "from dataclasses import dataclass\nfrom raykd.contract import Step\nfrom raykd.method import "
        "MethodConfig\nfrom raykd.losses import cross_entropy\nfrom raykd.methods.base.student import "
        "SingleStudent\nclass Doubled(SingleStudent):\n    @dataclass(frozen=True, kw_only=True)\n    class "
        "Config(MethodConfig):\n        factor: float = 2.0\n        def build(self, new_student, "
        "teachers):\n            return Doubled(self, new_student())\n    def forward(self, batch, teachers, "
        "epoch):\n        loss = cross_entropy(self.student(batch.images), batch.labels)\n        return "
        "Step({'doubled': self.config.factor * loss}, {})\n"
    )
    (tmp_path / "mine.py").write_text(
        "from dataclasses import replace\nfrom my_method import Doubled\nfrom raykd.recipe.files.load import "
        f"load\nbase = load({str(raykd.storage / 'digits/kd/source/recipes/digits/supervised.py')!r}).recipe\nrecipe = "
        "replace(base, method=Doubled.Config(), epochs=1, workers=2)\n"
    )
    raykd("train", "mine.py", "--method.factor", 3, "--name", "mine", cwd=tmp_path)
    (line,) = [json.loads(line) for line in (raykd.storage / "mine/metrics.jsonl").read_text().splitlines()]
    assert list(line["terms"]) == ["doubled"]
    assert raykd.json("mine/result.json")["method"] == "Doubled"
    said = raykd("eval", raykd.storage / "mine", status=2)
    assert "my_method" in said
    assert "%" in raykd("eval", raykd.storage / "mine", "--trust-source")
