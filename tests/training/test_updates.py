"""Optimizers and schedules against formulas written by hand."""

import pytest
import torch

from raykd import UserError
from raykd.recipe import SGD, AdamW, Piecewise
from raykd.training.update.optim import build, learning_rate
from raykd.training.update.state import new_state
from raykd.training.update.step import _clip
from tests.support import tiny_training as tiny


def test_the_piecewise_schedule_follows_its_points():
    schedule = Piecewise(shares=((2.0, 0.1), (3.0, 0.001), (4.0, 0.0001)))
    recipe = tiny.recipe(epochs=5, batch_size=10, schedule=schedule, optimizer=SGD(learning_rate=2.0))
    rates = [learning_rate(recipe, step, 100) for step in (0, 19, 20, 29, 30, 39, 40, 49)]
    assert rates == pytest.approx([2.0, 2.0, 0.2, 0.2, 0.002, 0.002, 0.0002, 0.0002])


@pytest.mark.parametrize("limit", (0.01, 1e6))
def test_clip_each_clips_each_gradient_separately(limit: float):
    """As Keras's clipnorm: a gradient longer than the limit is scaled to it, a shorter one stays."""
    sgd = SGD(learning_rate=0.1, clip_norm=limit, clip_each=True, momentum=0.0, nesterov=False)
    recipe = tiny.recipe(optimizer=sgd)
    state = new_state(recipe, tiny.distiller(), tiny.CPU)
    expected = []
    for i, p in enumerate(state.distiller.parameters()):
        p.grad = torch.full_like(p, 0.01 * i)
        expected.append(p.grad * min(1.0, limit / max(p.grad.norm().item(), 1e-30)))
    assert _clip(recipe, state).item() > 0.01
    for p, gradient in zip(state.distiller.parameters(), expected, strict=True):
        assert torch.allclose(p.grad, gradient, rtol=1e-6)


def test_clip_each_requires_clip_norm():
    with pytest.raises(UserError, match="clip_each.*clip_norm"):
        build(SGD(clip_each=True), torch.nn.Linear(3, 2))


def test_constant_decay_is_independent_of_the_learning_rate():
    """TensorFlow Addons' AdamW: w ← w − decay · w before Adam's step, also where the rate is 0."""
    layer = torch.nn.Linear(3, 2)
    weight, bias = (p.detach().clone() for p in layer.parameters())
    optimizer = build(AdamW(learning_rate=0.1, weight_decay=0.25, decay="constant", decay_vectors=False), layer)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    for p in layer.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    assert torch.allclose(layer.weight, 0.75 * weight) and torch.equal(layer.bias, bias)
