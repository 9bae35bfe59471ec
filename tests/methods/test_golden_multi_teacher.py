"""Several teachers: every pair of rules compared with the numbers of CA-MKD's code, as losses and as whole steps."""

import pytest

from tests.methods.golden_multi_teacher import loss_rows, net_cases, net_rows
from tests.support import golden
from tests.support.golden import Row

GOLDEN = golden.load("09_camkd_more")


def far(rows: list[Row], tolerance: float) -> list[Row]:
    return [row for row in rows if not row.difference <= tolerance]


def test_golden_losses_of_every_combination_are_exact():
    rows = list(loss_rows(GOLDEN))
    assert rows or golden.FOLDER != golden.OWN  # another set may have other cases
    assert far([row for row in rows if not row.what.startswith("weights")], 1e-9) == []
    assert far([row for row in rows if row.what.startswith("weights")], 1e-8) == []


@pytest.mark.parametrize("name", net_cases(GOLDEN))
def test_golden_whole_step_is_exact(name: str):
    assert far(list(net_rows(GOLDEN, name)), 1e-8) == []
