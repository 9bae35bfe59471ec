"""How a run's best evaluation is selected."""

import math

import pytest

from raykd.launch.worker.result import best_top1
from raykd.methods.individual import Individual
from raykd.methods.okddip import OKDDip
from tests.support.tiny_methods import new_tiny

TOP1 = {"branch0": 0.5, "branch1": 0.7, "branch2": 0.9, "ensemble": 0.1}


def test_checkpoints_are_selected_by_the_deployed_network_by_default():
    assert Individual.Config(branches=3).build(new_tiny, []).selects(TOP1) == 0.5
    assert Individual.Config(branches=3, select_by="mean").build(new_tiny, []).selects(TOP1) == pytest.approx(0.7)
    with_leader = OKDDip.Config(branches=3, select_by="mean").build(new_tiny, [])
    assert with_leader.selects({"leader": 0.9, "branch0": 0.1, "branch1": 0.2, "ensemble": 1.0}) == pytest.approx(0.4)


def line(deployed: float, **selection: float) -> dict:
    return {"evaluation": {"branch0": {"top1": deployed}, "branch1": {"top1": 0.0}}, **selection}


def test_the_best_top1_belongs_to_the_deployed_network():
    assert best_top1([line(0.5, selection=0.6), line(0.7, selection=0.4)], math.nan) == 0.5
    assert best_top1([line(0.5, selection=0.6), line(0.4, selection=0.6)], math.nan) == 0.5  # the earliest of equals
    assert best_top1([line(0.5), line(0.7), {"phase": "initialise"}], math.nan) == 0.7  # of an older version
    assert best_top1([{"phase": "initialise"}], 0.3) == 0.3
