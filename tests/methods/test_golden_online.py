"""Students that learn from each other, against OKDDip's code: networks, losses and five-step runs, in float64."""

import pytest

from tests.methods.golden_online import cross_entropy_rows, run_cases, run_rows, wrapper_cases, wrapper_rows
from tests.support import golden
from tests.support.golden import Row

STEPS, NETWORKS = golden.load("10_okddip_more"), golden.load("05_models_okddip") | golden.load("13_more_networks")


def far(rows: list[Row], tolerance: float) -> list[Row]:
    return [row for row in rows if not row.difference <= tolerance]


@pytest.mark.parametrize("name", wrapper_cases(NETWORKS))
def test_golden_branched_networks_are_exact(name: str):
    assert far(list(wrapper_rows(NETWORKS, name)), 1e-9) == []


def test_golden_losses_are_exact():
    rows = list(cross_entropy_rows(STEPS))
    assert rows or golden.FOLDER != golden.OWN  # another set may have other cases
    assert far(rows, 1e-9) == []


@pytest.mark.usefixtures("as_original")
@pytest.mark.parametrize("name", run_cases(STEPS))
def test_golden_five_steps_are_exact(name: str):
    assert far(list(run_rows(STEPS, name)), 1e-9) == []
