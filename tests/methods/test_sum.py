"""A sum of methods: one student, one forward pass of it, each method's own terms and parameters."""

import copy
import inspect
import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from raykd import UserError
from raykd.methods.ca_mkd import CAMKD
from raykd.methods.ctkd import CTKD
from raykd.methods.dist import DIST
from raykd.methods.dkd import DKD
from raykd.methods.fitnet_mkd import FitNetMKD
from raykd.methods.kd import KD
from raykd.methods.ofa import OFA
from raykd.methods.okddip import OKDDip
from raykd.methods.sum import Sum
from raykd.methods.supervised import Supervised
from raykd.methods.teskd import TESKD
from raykd.recipe.changes import change
from raykd.recipe.fingerprint import fingerprint
from raykd.recipe.labels import labels
from raykd.recipe.serial import from_dict, to_dict
from raykd.recipe.validate import validate
from raykd.recipes.digits.kd import recipe as kd_recipe
from tests.support.tiny_methods import data, new_tiny, outputs_of, run, teachers_for

METHODS = (FitNetMKD.Config(), CAMKD.Config(logits_only_epochs=0.0), FitNetMKD.Config(stage="stage3"))
WEIGHTS = (1.0, 0.25, 2.0)


@pytest.fixture
def teachers():
    return teachers_for("ca_mkd")


@pytest.fixture
def added(teachers) -> nn.Module:
    torch.manual_seed(7)
    return Sum.Config(methods=METHODS, weights=WEIGHTS).build(new_tiny, teachers).double().train()


def test_terms_are_the_weighted_terms_of_its_methods(added, teachers):
    batch, found = data(4), {}
    for weight, config, (name, part) in zip(WEIGHTS, METHODS, added.parts.items(), strict=True):
        alone = config.build(lambda: copy.deepcopy(added.student), teachers).double().train()
        alone.load_state_dict(part.state_dict(), strict=False)
        found |= {f"{name}.{key}": weight * term for key, term in run(alone, teachers, batch).terms.items()}
    terms = run(added, teachers, batch).terms
    assert (
        terms.keys() == found.keys() and {"fitnet_mkd.feature", "ca_mkd.feature", "fitnet_mkd-1.feature"} < terms.keys()
    )
    assert all(terms[key].item() == pytest.approx(value.item(), rel=1e-12) for key, value in found.items())


def test_the_student_runs_once(added, teachers, monkeypatch):
    calls = []
    output = added.student.output
    monkeypatch.setattr(added.student, "output", lambda *a: calls.append(a[1]) or output(*a))
    run(added, teachers, data(4))
    assert len(calls) == 1 and sorted(calls[0]) == ["stage2", "stage3", "stage4"]


def test_teachers_compute_the_features_that_any_method_reads(added, teachers):
    assert [sorted(names) for names in added.teacher_features] == [["stage2", "stage3", "stage4"]] * 3
    outputs_of(added, teachers, data(2).images)


def test_a_checkpoint_contains_the_student_once(added):
    keys = added.state_dict().keys()
    owned = {key for key in keys if ".student." in key}
    assert not owned and sum(key == "student.model.stem.weight" for key in keys) == 1
    twin = copy.deepcopy(added)
    assert twin.student is not added.student and all(part.student is twin.student for part in twin.parts.values())


def test_methods_without_teachers_get_no_teacher_outputs(teachers):
    config = Sum.Config(methods=(Supervised.Config(), KD.Config(gamma=0.0)), weights=(1.0, 1.0))
    assert config.uses_teachers and not config.hard_labels
    terms = run(config.build(new_tiny, teachers[:1]).double(), teachers[:1], data(4)).terms
    assert list(terms) == ["supervised.ce", "kd.ce", "kd.kd"]


def test_requirements_are_those_of_its_methods():
    assert Sum.Config(methods=(DKD.Config(), KD.Config()), weights=(1.0, 1.0)).hard_labels
    assert not Sum.Config(methods=(Supervised.Config(),), weights=(1.0,)).uses_teachers


def test_a_sum_may_contain_a_sum(teachers):
    inner = Sum.Config(methods=(OFA.Config(), DIST.Config()), weights=(1.0, 3.0))
    distiller = Sum.Config(methods=(KD.Config(), inner), weights=(1.0, 0.5)).build(new_tiny, teachers[:1]).double()
    terms = run(distiller, teachers[:1], data(4)).terms
    assert list(terms)[2:] == [
        "sum.ofa.ce",
        "sum.ofa.kd",
        "sum.ofa.exits",
        "sum.dist.ce",
        "sum.dist.inter",
        "sum.dist.intra",
    ]
    assert not any(".student." in key for key in distiller.state_dict())


@pytest.mark.parametrize(
    "methods, weights, message",
    [
        ((KD.Config(), DIST.Config()), (1.0,), r"method.weights.*each of the 2 methods, not 1"),
        ((Supervised.Config(), OKDDip.Config()), (1.0, 1.0), "sum combines.*okddip has several"),
        ((Supervised.Config(), TESKD.Config()), (1.0, 1.0), "sum combines.*teskd has several"),
    ],
)
def test_methods_that_cannot_be_summed_are_rejected(methods, weights, message: str, teachers):
    config = Sum.Config(methods=methods, weights=weights)
    with pytest.raises(UserError, match=message):
        config.build(new_tiny, teachers[:1] if config.uses_teachers else [])


RECIPE = replace(
    kd_recipe,
    method=Sum.Config(methods=(KD.Config(), CTKD.Config(method=DKD.Config(temperature=4.0))), weights=(1.0, 0.5)),
)


def test_fields_of_its_methods_can_be_searched_and_overridden():
    values = {"method.weights.1": 2, "method.methods.0.alpha": 0.3, "method.methods.1.method.beta": 4.0}
    changed = change(RECIPE, values).method
    assert changed.weights == (1.0, 2.0) and type(changed.weights[1]) is float
    assert changed.methods[0].alpha == 0.3 and changed.methods[1].method.beta == 4.0
    assert change(RECIPE, {"method.weights": (3.0, 4.0)}).method.weights == (3.0, 4.0)
    for name, value in {"method.weights.2": 1.0, "method.weights.0": "x", "method.methods.0.alhpa": 1.0}.items():
        with pytest.raises(UserError):
            change(RECIPE, {name: value})


def test_weights_are_validated():
    with pytest.raises(UserError, match=r"method\.weights\.0"):
        validate(change(RECIPE, {"method.weights.0": -1.0}))
    with pytest.raises(UserError, match=r"method\.methods\.1\.method\.temperature"):
        validate(change(RECIPE, {"method.methods.1.method.temperature": -1.0}))


def test_it_is_serialised_and_named_by_its_methods():
    plain = json.loads(json.dumps(to_dict(RECIPE) | {"search": None}))
    assert from_dict(plain) == RECIPE
    assert labels(plain).method == "KD + CTKD of DKD"


def test_the_fingerprint_depends_on_its_methods_fields_and_code(monkeypatch):
    before = fingerprint(RECIPE)
    assert before != fingerprint(change(RECIPE, {"method.methods.1.method.beta": 4.0}))
    source = inspect.getsource
    monkeypatch.setattr(
        inspect, "getsource", lambda m: source(m) + ("# changed" if m.__name__.endswith(".dkd") else "")
    )
    assert before != fingerprint(RECIPE)


def test_fields_of_its_methods_are_validated():
    config = Sum.Config(methods=(KD.Config(), KD.Config(temperature=0.0)), weights=(1.0, 1.0))
    with pytest.raises(UserError, match=r"method.methods.1.temperature"):
        validate(config, "method")
