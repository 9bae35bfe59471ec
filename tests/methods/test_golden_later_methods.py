"""Losses of the later methods against the authors' own numbers: values and gradients, in float64."""

import pytest

from tests.methods import golden_feature_methods, golden_logit_methods
from tests.support import golden
from tests.support.golden import Row

METHODS = ("nkd", "wsld", "ttm", "wttm", "ofa", "deit", "dist", "logitstd", "ctkd", "sdd")
METHODS += ("reviewkd", "semckd", "simkd", "srrl", "ickd", "mgd", "ofd")


@pytest.fixture(scope="module")
def found() -> list[Row]:
    return [*golden_logit_methods.rows(golden.load), *golden_feature_methods.rows(golden.load)]


@pytest.mark.skipif(golden.FOLDER != golden.OWN, reason="another set holds what it holds")
def test_every_method_with_golden_numbers_is_tested(found: list[Row]):
    assert {row.method for row in found} == set(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_golden_losses_and_gradients_are_exact(method: str, found: list[Row]):
    own = [row for row in found if row.method == method]
    assert [row for row in own if not row.difference <= 1e-9] == []
