"""Pooled features through a projector, then a linear probe: against numpy, and through the real command line."""

import json

import numpy as np
import pytest
import torch

from raykd import UserError
from raykd.__main__ import main
from raykd.contract import Batch, Output
from raykd.methods.feature_match import FeatureMatch, feature_distance
from raykd.methods.linear_probe import LinearProbe
from raykd.models import create

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("distance", ["cosine", "mse"])
def test_the_distance_equals_the_formula(distance):
    a, b = RNG.normal(size=(2, 5, 7))
    if distance == "cosine":
        expected = 1 - ((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).mean()
    else:
        expected = ((a - b) ** 2).mean()
    found = feature_distance(torch.tensor(a), torch.tensor(b), distance)
    assert found.item() == pytest.approx(expected, rel=1e-12)


def student():
    torch.manual_seed(0)
    return create("resnet8", 10, 16)


def batch():
    return Batch(torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 3]), torch.arange(4))


@pytest.mark.parametrize("hidden", [0, 6])
def test_all_but_the_last_layer_is_trained_towards_every_teacher(hidden):
    teachers = [create("resnet8", 3, 16), create("resnet8x4", 7, 16)]  # whose classes are others
    distiller = FeatureMatch.Config(hidden=hidden).build(student, teachers)
    said = [t.output(batch().images, ("pooled",)) for t in teachers]
    assert distiller.teacher_features == (("pooled",), ("pooled",))
    step = distiller(batch(), [Output(s.logits.detach(), {"pooled": s.features["pooled"].detach()}) for s in said], 0.0)
    step.terms["feature"].backward()
    grads = {name: p.grad for name, p in distiller.named_parameters() if p.requires_grad}
    assert all(grad is not None for grad in grads.values())
    assert not any("fc" in name for name in grads) and step.notes["distances"].shape == (2,)


def test_a_probe_trains_only_the_last_layer():
    distiller = LinearProbe.Config().build(student, ())
    distiller.train()
    before = {name: buffer.clone() for name, buffer in distiller.named_buffers()}
    distiller(batch(), (), 0.0).terms["ce"].backward()
    trained = {name for name, p in distiller.named_parameters() if p.grad is not None}
    assert trained == {"student.model.fc.weight", "student.model.fc.bias"}
    assert all(torch.equal(buffer, before[name]) for name, buffer in distiller.named_buffers())
    with pytest.raises(UserError, match="0 teacher"):
        LinearProbe.Config().build(student, [student()])


def test_the_feature_recipes_run_in_sequence(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    short = ["--epochs", "0.1", "--workers", "0", "--storage", str(tmp_path)]
    teacher = ["--teachers.sources.0.recipe.epochs", "0.1", "--teachers.sources.0.recipe.workers", "0"]
    assert main(["train", "recipes/features/match.py", *short, *teacher]) == 0
    weights = ["--student.weights", f"{tmp_path}/features/match/student.safetensors#backbone"]
    for name in ("probe", "finetune"):
        assert main(["train", f"recipes/features/{name}.py", *short, *weights]) == 0
    features = json.loads((tmp_path / "features/match/result.json").read_text())
    assert features["status"] == "finished"
