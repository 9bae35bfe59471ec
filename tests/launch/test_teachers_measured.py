"""A teacher's accuracy is measured and reported before the first step, and shown at the end; NaN is reported."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from raykd.__main__ import main
from raykd.contract import Batch
from raykd.models import create
from raykd.models.config import Network
from raykd.training.evaluation.evaluate import evaluate
from raykd.training.evaluation.measure_teachers import MeasuredTeachers
from raykd.training.update.nonfinite import NotFiniteError

RECIPE = """
from dataclasses import replace
from raykd.methods.{module} import {method}
from raykd.models.config import Network
from raykd.recipe import Pretrained, Teachers
from raykd.recipes.digits.supervised import recipe as digits

source = Pretrained(network={network!r}, mean=digits.data.mean, std=digits.data.std)
recipe = replace(digits, method={method}.Config(), workers=0, epochs=0.05, teachers=Teachers(sources=(source,)))
"""


def train(folder, monkeypatch, teacher, options={}, module="kd", method="KD"):  # noqa: B006  never changed
    """The status of a short run whose teacher's weights are in a file."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.syspath_prepend(str(folder))
    save_file(teacher.model.state_dict(), folder / "teacher.safetensors")
    network = Network(teacher.name, weights=str(folder / "teacher.safetensors"), options=options)
    recipe = folder / f"measured_{abs(hash(str(folder)))}.py"
    recipe.write_text(RECIPE.format(network=network, module=module, method=method))
    return main(["train", str(recipe), "--storage", str(folder / "runs")])


def test_a_teacher_near_chance_is_reported_before_the_first_step(tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    assert train(tmp_path, monkeypatch, create("resnet8", 10, 32)) == 0
    out = capsys.readouterr().out
    measured = out.index("warning teacher resnet8: top-1")
    assert measured < out.index("  epoch ") and "close to chance" in out
    figure = out[measured:].split("top-1 ")[1].split(" %")[0]
    assert f"{figure} %" in next(line for line in out.splitlines() if line.startswith("teacher "))


@pytest.mark.parametrize(("top1", "classes"), [(0.11, 10), (0.51, 2), (0.03, 1000)])
def test_near_chance_is_defined_relative_to_the_number_of_classes(top1, classes):
    for more, warned in ((0.0, True), (0.1, False)):
        (line,) = MeasuredTeachers({}, {"t": SimpleNamespace(top1=top1 + more)}, {}).lines(classes, False)
        assert line.startswith("warning") == warned


def test_a_teachers_nan_is_named(tmp_path, monkeypatch, capsys):
    network = create("resnet8", 10, 32)
    with torch.no_grad():
        network.model.conv1.weight[0] = float("nan")
    assert train(tmp_path, monkeypatch, network) == 2
    error = capsys.readouterr().err
    assert "teacher.safetensors has NaN" in error and error.count("\n") == 1


def test_a_vit_teaches_a_resnet_8(tmp_path, monkeypatch):
    """The hints of a transformer's tokens: a ViT of four blocks, FitNet-MKD, a CNN as the student."""
    torch.manual_seed(0)
    options = {"depth": 4, "embed_dim": 24, "num_heads": 2}
    vit = create("timm:vit_tiny_patch16_224", 10, 32, options=options)
    assert train(tmp_path, monkeypatch, vit, options, "fitnet_mkd", "FitNetMKD") == 0


def test_a_students_nan_at_an_evaluation_is_named():
    batches = [Batch(torch.zeros(4, 3, 2, 2), torch.tensor([0, 1, 2, 0]), torch.arange(4))] * 2
    logits = torch.tensor([[0.0, 1, 2], [float("nan"), 0, 1], [1, 2, 3], [0, float("inf"), 0]])

    def predict(images):
        return {"student": logits}

    with pytest.raises(NotFiniteError, match="evaluation of student: the logits of 4 of 8 images are not finite"):
        evaluate(predict, batches, lambda: torch.autocast("cpu", enabled=False), {})
