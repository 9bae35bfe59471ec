"""RepDistiller's methods against the authors' own numbers: losses, gradients, own parameters, memories; in float64."""

import pytest

from tests.methods.golden_family import family_rows
from tests.support import golden
from tests.support.golden import Row

METHODS = ("at", "sp", "cc", "pkt", "rkd", "nst", "vid", "fsp", "ab", "ft", "kdsvd", "crd")
AGAIN = tuple(f"{name} (mdistiller)" for name in ("at", "sp", "nst", "pkt"))
CANCELLING = {"kdsvd": 1e-8, "rkd": 1e-8}  # what the originals lose in squares that cancel


@pytest.fixture(scope="module")
def found() -> list[Row]:
    return list(family_rows(golden.load))


@pytest.mark.skipif(golden.FOLDER != golden.OWN, reason="another set holds what it holds")
def test_every_method_with_golden_numbers_is_tested(found: list[Row]):
    assert {row.method for row in found} == {*METHODS, *AGAIN}


@pytest.mark.parametrize("method", [*METHODS, *AGAIN])
def test_golden_losses_gradients_and_state_are_exact(method: str, found: list[Row]):
    own = [row for row in found if row.method == method]
    assert [row for row in own if not row.difference <= CANCELLING.get(method, 1e-9)] == []
