"""Every pure loss over a grid of shapes and extremes: equal to a numpy formula in float64, gradients equal to those of
finite differences where the case is tame, and finite with finite gradients in float32 and under bf16 autocast always.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from raykd.losses import cross_entropy, standardize
from raykd.methods import (
    ca_mkd,
    cl_ilr,
    deit,
    dist,
    dkd,
    dml,
    ebkd,
    funmatch,
    ickd,
    kd,
    nkd,
    ofa,
    okddip,
    one,
    teskd,
    ttm,
    wsld,
)
from raykd.methods.base.multi_teacher import Weighting, weighted_divergence
from tests.methods import formulas

D, WEIGHT, T = 6, 0.37, 3.0


@dataclass(frozen=True)
class Shape:
    batch: int
    classes: int
    count: int  # teachers or branches
    kind: str = "random"  # "random", "large" (±80), "agree" (all equal), "uniform" (teachers without an opinion)

    def __str__(self) -> str:
        return f"{self.kind} B{self.batch} C{self.classes} K{self.count}"


SHAPES = (
    Shape(1, 2, 2),
    Shape(7, 37, 5),
    Shape(3, 2, 3),
    Shape(2, 1000, 3),
    Shape(5, 10, 3, "large"),
    Shape(1, 2, 4, "large"),
    Shape(5, 10, 3, "agree"),
    Shape(4, 6, 3, "uniform"),
)


def inputs(shape: Shape) -> dict[str, Tensor]:
    rng = np.random.default_rng(shape.batch * 1000 + shape.classes)
    k, b, c = shape.count, shape.batch, shape.classes
    student, many = rng.normal(size=(b, c)) * 2, rng.normal(size=(k, b, c)) * 2
    if shape.kind == "large":
        student, many = np.sign(student) * 80, rng.uniform(-80, 80, size=(k, b, c))
    if shape.kind == "agree":
        many[:] = student
    if shape.kind == "uniform":
        many[:] = 0.0
    arrays = {
        "student": student,
        "many": many,
        "queries": rng.normal(size=(k, b, D)),
        "keys": rng.normal(size=(k, b, D)),
        "gates": formulas.softmax(rng.normal(size=(b, k))),
        "map": rng.normal(size=(b, 4, 3, 3)),
        "feature": rng.normal(size=(b, D)),
        "features": rng.normal(size=(3, b, D)),
        "labels": rng.integers(c, size=b),
    }
    return {name: torch.from_numpy(x) for name, x in arrays.items()}


def three(many: Tensor) -> Tensor:
    return torch.stack([many[0], many[1], many[-1]])


Call = Callable[[dict[str, Tensor]], Tensor]


def total(terms: dict[str, Tensor]) -> Tensor:
    return sum(terms.values())


def okddip_call(x: dict[str, Tensor]) -> Tensor:
    targets = okddip.peer_targets(x["many"], x["queries"], x["keys"])
    return total(okddip.okddip_loss(x["many"], targets, x["student"], x["labels"], T, WEIGHT))


def okddip_formula(x: dict[str, np.ndarray]) -> float:
    targets = formulas.okddip_targets(x["many"], x["queries"], x["keys"])
    return formulas.okddip(x["many"], targets, x["student"], x["labels"], T, WEIGHT)


def aekd_call(x: dict[str, Tensor]) -> Tensor:
    weights = torch.arange(1, len(x["many"]) + 1, dtype=x["many"].dtype)
    return weighted_divergence(x["student"], x["many"], weights.unsqueeze(1), T)


def weighed_by(rule: Weighting) -> Call:
    def call(x: dict[str, Tensor]) -> Tensor:
        weights = rule.weights(x["student"], x["many"], x["labels"], T)
        return weighted_divergence(x["student"], x["many"], weights, T)

    return call


LOSSES: dict[str, tuple[Call, Callable[[dict[str, np.ndarray]], float]]] = {
    "kd": (
        lambda x: (
            0.1 * cross_entropy(x["student"], x["labels"]) + 0.9 * kd.kd_loss(x["student"], x["many"][0], T).mean()
        ),
        lambda x: formulas.kd(x["student"], x["many"][0], x["labels"], T, 0.1, 0.9),
    ),
    "kd standardised": (
        lambda x: 9 * kd.kd_loss(x["student"], x["many"][0], T, standardize=True).mean(),
        lambda x: 9 * formulas.kl(formulas.standardised(x["student"]), formulas.standardised(x["many"][0]), T).mean(),
    ),
    "funmatch": (
        lambda x: funmatch.funmatch_loss(x["student"], x["many"], T, True),
        lambda x: formulas.funmatch(x["student"], x["many"], T, True),
    ),
    "funmatch without T²": (
        lambda x: funmatch.funmatch_loss(x["student"], x["many"], T, False),
        lambda x: formulas.funmatch(x["student"], x["many"], T, False),
    ),
    "okddip": (okddip_call, okddip_formula),
    "diversity": (lambda x: okddip.diversity(x["many"]), lambda x: formulas.diversity(x["many"])),
    "one": (
        lambda x: total(one.one_loss(x["many"], x["gates"], x["labels"], T, WEIGHT)),
        lambda x: formulas.one(x["many"], x["gates"], x["labels"], T, WEIGHT),
    ),
    "cl_ilr": (
        lambda x: total(cl_ilr.cl_ilr_loss(x["many"], x["labels"], T, WEIGHT)),
        lambda x: formulas.cl_ilr(x["many"], x["labels"], T, WEIGHT),
    ),
    "dml": (
        lambda x: total(dml.dml_loss(x["many"], x["labels"], T)),
        lambda x: formulas.dml(x["many"], x["labels"], T, False),
    ),
    "dml ensemble first": (
        lambda x: total(dml.dml_loss(x["many"], x["labels"], T, ensemble_first=True)),
        lambda x: formulas.dml(x["many"], x["labels"], T, True),
    ),
    "aver_mkd": (
        weighed_by(Weighting()),
        lambda x: formulas.funmatch(x["student"], x["many"], T, True) / len(x["many"]),
    ),
    "ebkd": (
        weighed_by(ebkd.Entropy()),
        lambda x: formulas.ebkd(x["student"], x["many"], T),
    ),
    "aekd": (
        aekd_call,
        lambda x: sum((k + 1) * formulas.kl(x["student"], z, T).mean() for k, z in enumerate(x["many"])),
    ),
    "ca_mkd logits": (
        weighed_by(ca_mkd.Confidence()),
        lambda x: formulas.ca_mkd_logits(x["student"], x["many"], x["labels"], T),
    ),
    "ca_mkd features": (
        lambda x: ca_mkd.feature_loss(
            [x["map"]] * len(x["many"]), [-x["map"]] * len(x["many"]), x["many"], x["labels"]
        ),
        lambda x: formulas.ca_mkd_features(
            [x["map"]] * len(x["many"]), [-x["map"]] * len(x["many"]), x["many"], x["labels"]
        ),
    ),
    "teskd": (
        lambda x: total(teskd.teskd_loss(x["student"], three(x["many"]), x["feature"], x["features"], x["labels"], T)),
        lambda x: sum(formulas.teskd(x["student"], x["many"][[0, 1, -1]], x["feature"], x["features"], x["labels"], T)),
    ),
    "dkd": (
        lambda x: total(dkd.dkd_loss(x["student"], x["many"][0], x["labels"], T, 1.0, 8.0)).mean(),
        lambda x: formulas.dkd(x["student"], x["many"][0], x["labels"], T, 1.0, 8.0),
    ),
    "wsld": (
        lambda x: wsld.wsld_loss(x["student"], x["many"][0], x["labels"], T).mean(),
        lambda x: formulas.wsld(x["student"], x["many"][0], x["labels"], T),
    ),
    "nkd": (
        lambda x: total(nkd.nkd_loss(x["student"], x["many"][0], x["labels"], T)).mean(),
        lambda x: formulas.nkd(x["student"], x["many"][0], x["labels"], T),
    ),
    "ttm": (
        lambda x: ttm.ttm_loss(x["student"], x["many"][0], 0.2, weighted=False).mean(),
        lambda x: formulas.kl(x["student"], 0.2 * x["many"][0], 1.0).mean(),
    ),
    "wttm": (
        lambda x: ttm.ttm_loss(x["student"], x["many"][0], 0.2, weighted=True).mean(),
        lambda x: formulas.wttm(x["student"], x["many"][0], 0.2),
    ),
    "deit": (
        lambda x: deit.teacher_label_loss(x["student"], x["many"][0], 0.0),
        lambda x: formulas.ce(x["student"], x["many"][0].argmax(1)).mean(),
    ),
    "ofa": (
        lambda x: ofa.ofa_loss(x["student"], x["many"][0], x["labels"], 1.5),
        lambda x: formulas.ofa(x["student"], x["many"][0], x["labels"], 1.5),
    ),
    "ickd": (
        lambda x: ickd.ickd_loss(x["map"], x["map"].flip(1)),
        lambda x: formulas.ickd(x["map"], x["map"][:, ::-1]),
    ),
    "dist": (
        lambda x: total(dist.dist_loss(x["student"], x["many"][0], T, 2.0, 1.5)),
        lambda x: formulas.dist(x["student"], x["many"][0], T, 2.0, 1.5),
    ),
}
CALLS = {name: call for name, (call, _) in LOSSES.items()}
grid = pytest.mark.parametrize("shape", SHAPES, ids=str)


@grid
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_equals_its_formula(name: str, shape: Shape):
    if name == "dist" and (shape.batch == 1 or shape.kind in ("uniform", "large")):
        pytest.skip("a correlation without variation: tested below")
    call, formula = LOSSES[name]
    x = inputs(shape)
    expected = formula({key: value.numpy() for key, value in x.items()})
    # The entropy of a teacher that is certain to 1e-12 and beyond is known to fewer digits than its logits.
    rounding = 1e-6 if name == "ebkd" and shape.kind == "large" else 1e-9
    assert call(x).item() == pytest.approx(expected, rel=rounding, abs=1e-12)


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in ("wsld", "wttm")])  # their weights have none
def test_every_gradient_equals_that_of_the_formula(name: str):
    """Central differences of the numpy formula in every coordinate that the loss reads."""
    call, formula = LOSSES[name]
    x = inputs(Shape(3, 4, 3))
    held = {"labels"} | ({"feature"} if name == "teskd" else set())  # TESKD detaches the backbone's feature
    leaves = {key: value.clone().requires_grad_(key not in held) for key, value in x.items()}
    call(leaves).backward()
    for key, leaf in leaves.items():
        if key in held:
            assert leaf.grad is None
            continue
        numeric = differences(formula, {k: v.numpy().copy() for k, v in x.items()}, key)
        ours = np.zeros_like(numeric) if leaf.grad is None else leaf.grad.numpy()
        np.testing.assert_allclose(ours, numeric, rtol=2e-5, atol=2e-7, err_msg=key)


def differences(formula: Callable, x: dict[str, np.ndarray], key: str, step: float = 1e-5) -> np.ndarray:
    result = np.zeros_like(x[key])
    for place in np.ndindex(*x[key].shape):
        centre = x[key][place]
        x[key][place] = centre + step
        above = formula(x)
        x[key][place] = centre - step
        result[place] = (above - formula(x)) / (2 * step)
        x[key][place] = centre
    return result


@grid
@pytest.mark.parametrize("half", (False, True), ids=("float32", "bf16 autocast"))
@pytest.mark.parametrize("name", CALLS)
def test_losses_are_finite_in_low_precision(name: str, half: bool, shape: Shape):
    x = inputs(shape)
    dtype = torch.bfloat16 if half else torch.float32
    x = {key: value.to(dtype).requires_grad_() if value.is_floating_point() else value for key, value in x.items()}
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        loss = CALLS[name](x)
    assert loss.dtype == torch.float32
    loss.backward()
    assert torch.isfinite(loss)
    for key, leaf in x.items():
        assert leaf.grad is None or torch.isfinite(leaf.grad).all(), key


@pytest.mark.parametrize("name", [name for name in CALLS if name not in ("dist", "kd standardised")])
def test_half_precision_inputs_are_computed_in_float32(name: str):
    """Under autocast the value is that of the rounded inputs, not of rounded arithmetic."""
    x = {key: v.bfloat16() if v.is_floating_point() else v for key, v in inputs(Shape(7, 37, 5)).items()}
    with torch.autocast("cpu", torch.bfloat16):
        loss = CALLS[name](x)
    exact = CALLS[name]({key: v.double() if v.is_floating_point() else v for key, v in x.items()})
    assert loss.item() == pytest.approx(exact.item(), rel=3e-6)


def test_gradients_flow_unless_the_method_detaches():
    x = {key: v.requires_grad_() if v.is_floating_point() else v for key, v in inputs(Shape(4, 5, 3)).items()}
    for name, reads in {"okddip": ("many", "queries", "keys", "student"), "one": ("many", "gates")}.items():
        for key in reads:
            (gradient,) = torch.autograd.grad(CALLS[name](x), x[key], retain_graph=True)
            assert gradient.abs().sum() > 0
    students = [torch.autograd.grad(CALLS[name](x), x["student"])[0] for name in ("teskd", "kd")]
    assert all(gradient.abs().sum() > 0 for gradient in students)


def test_one_hot_soft_labels_equal_hard_labels():
    x = inputs(Shape(5, 6, 3))
    soft = x | {"labels": torch.nn.functional.one_hot(x["labels"], 6).double()}
    for name in ("kd", "okddip", "one", "cl_ilr", "dml", "teskd", "ca_mkd logits", "ca_mkd features"):
        assert CALLS[name](soft).item() == pytest.approx(CALLS[name](x).item(), rel=1e-12)


def test_equally_certain_teachers_have_equal_weights():
    teachers = torch.full((3, 2, 4), -1e4, dtype=torch.float64)
    teachers[:, :, 1] = 1e4
    assert torch.allclose(ebkd.entropy_weights(teachers), torch.full((3, 2), 2 / 3, dtype=torch.float64))


def test_confident_teachers_are_weighted_correctly_in_float32():
    teachers = torch.zeros(3, 1, 10)
    teachers[0, 0, 0], teachers[1, 0, 0], teachers[2, 0, 0] = 20.0, 22.0, 24.0
    h = formulas.entropy(teachers.double().numpy())
    assert np.allclose(ebkd.entropy_weights(teachers).numpy(), 1 - h / h.sum(0), rtol=1e-5)


def test_a_single_teacher_has_weight_1():
    x = inputs(Shape(4, 5, 1))
    loss = weighed_by(ca_mkd.Confidence())(x)
    assert loss.item() == pytest.approx(formulas.kl(x["student"].numpy(), x["many"][0].numpy(), T).mean(), rel=1e-12)


def test_the_correlation_of_a_constant_vector_is_0():
    student = torch.zeros(1, 4, requires_grad=True)
    terms = dist.dist_loss(student, torch.randn(1, 4), 4.0, 1.0, 1.0)
    assert {name: term.item() for name, term in terms.items()} == {"inter": 16.0, "intra": 16.0}
    sum(terms.values()).backward()
    assert torch.equal(student.grad, torch.zeros(1, 4))


def test_standardised_logits_ignore_shift_and_scale():
    z = torch.randn(5, 10, dtype=torch.float64)
    assert torch.allclose(standardize(3 * z + 7), standardize(z), atol=1e-6)


def test_scale_gradient_keeps_the_value():
    x = torch.randn(4, 3, requires_grad=True)
    y = cl_ilr.scale_gradient(x, 0.25)
    assert torch.equal(x, y)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, torch.full((4, 3), 0.25))
