"""AEKD's quadratic program against rational arithmetic, and its weights' symmetries."""

import numpy as np
import pytest
import torch

from raykd.methods.aekd import aekd_weights
from raykd.methods.base.min_norm import min_norm_weights
from tests.methods.formulas import shortest_combination, softmax


def vectors(seed: int, count: int, kind: str) -> np.ndarray:
    rng = np.random.default_rng(seed)
    v = rng.normal(size=(count, int(rng.integers(count, 12))))
    if kind == "of all lengths":
        v *= 10 ** rng.uniform(-6, 2, size=(count, 1))
    if kind == "nearly parallel":
        v = v + 300 * rng.normal(size=(1, v.shape[1]))
    if kind == "two equal, one zero":
        v[1], v[-1] = v[0], 0
    if kind == "tiny":
        v *= 1e-9
    return v


@pytest.mark.parametrize("kind", ("plain", "of all lengths", "nearly parallel", "two equal, one zero", "tiny"))
@pytest.mark.parametrize("count", (2, 3, 4))
def test_weights_equal_the_exact_optimum(count: int, kind: str):
    for seed in range(6):
        v = vectors(seed, count, kind)
        gram, upper = v @ v.T, (0.6, 1.0, 1 / count + 0.05)[seed % 3]
        objective, exact = shortest_combination(gram, upper)
        weights = min_norm_weights(torch.from_numpy(gram), upper).numpy()
        assert weights.sum() == pytest.approx(1, abs=1e-12)
        assert weights.min() >= 0 and weights.max() <= upper
        rounding = 1e-14 * np.diag(gram).mean()
        assert weights @ gram @ weights == pytest.approx(objective, rel=1e-9, abs=rounding)
        if kind in ("plain", "of all lengths", "tiny"):  # the optimum is unique
            assert np.abs(weights - exact).max() <= 1e-9


@pytest.mark.parametrize("count", (1, 2, 3, 8))
@pytest.mark.parametrize("value", (0.0, 1e-20, 3.0))
def test_equal_gradients_get_equal_weights(count: int, value: float):
    weights = min_norm_weights(torch.full((count, count), value), 0.6)
    assert torch.allclose(weights, torch.full((count,), 1 / count, dtype=torch.float64), atol=1e-9)


def test_order_of_teachers_does_not_matter():
    v = torch.from_numpy(vectors(3, 5, "plain"))
    order = torch.tensor([3, 0, 4, 1, 2])
    weights = min_norm_weights(v @ v.T, 0.4)
    assert torch.allclose(min_norm_weights(v[order] @ v[order].T, 0.4), weights[order], atol=1e-9)


@pytest.mark.parametrize("normalize", (False, True))
def test_gradients_equal_those_of_the_divergence(normalize: bool):
    """The closed form against the gradients that autograd gives, as the original computes them."""
    rng = np.random.default_rng(0)
    student, teachers = rng.normal(size=(6, 9)), rng.normal(size=(3, 6, 9))
    gradients = np.stack([4.0 * (softmax(student / 4) - softmax(t / 4)).mean(0) / 6 for t in teachers])
    lengths = np.linalg.norm(gradients, axis=1, keepdims=True) if normalize else 1.0
    _, expected = shortest_combination((gradients / lengths) @ (gradients / lengths).T, 0.6)
    expected = expected / np.squeeze(lengths) if normalize else expected
    student = torch.from_numpy(student).requires_grad_()
    weights = aekd_weights(student, torch.from_numpy(teachers), 4.0, 0.6, normalize)
    assert not weights.requires_grad
    assert torch.allclose(weights, torch.from_numpy(expected / expected.sum()), atol=1e-9)


def test_weights_of_extreme_gradients_are_finite():
    large = torch.full((2, 3), -80.0)
    large[:, 0] = 80.0
    for student, teachers in (
        (large, large.expand(3, 2, 3)),
        (-large, torch.zeros(3, 2, 3)),
        (large[:1], large[None, 1:]),
    ):
        for normalize in (False, True):
            weights = aekd_weights(student.bfloat16(), teachers.bfloat16(), 4.0, normalize=normalize)
            assert weights.dtype == torch.float32
            assert torch.isfinite(weights).all() and weights.sum().item() == pytest.approx(1, abs=1e-6)
