"""Students whose stages are one pass, against the same students one after another."""

import copy
from dataclasses import replace

import pytest
import torch

from raykd import UserError
from raykd.contract import Batch
from raykd.methods.okddip import OKDDip
from raykd.methods.peers import PeerConfig, PeerDistiller
from raykd.models import create
from tests.methods.tiny import EVERY

PEERS = {name: config for name, config in EVERY.items() if isinstance(config, PeerConfig) and not config.together}


def built(config: PeerConfig, together: bool) -> PeerDistiller:
    torch.manual_seed(3)
    return replace(config, together=together).build(lambda: create("resnet8", 5, 32), [])


def batch(kind: torch.dtype) -> Batch:
    torch.manual_seed(4)
    return Batch(torch.randn(6, 3, 32, 32, dtype=kind), torch.randint(5, (6,)), torch.arange(6))


def test_every_method_of_peers_has_the_option():
    assert {name.split()[0] for name in PEERS} == {"okddip", "one", "cl_ilr", "individual", "dml"}


@pytest.mark.parametrize("name", PEERS)
def test_terms_gradients_statistics_and_predictions_are_those_apart(name: str):
    apart, together = (built(PEERS[name], way).double() for way in (False, True))
    data = batch(torch.float64)
    for distiller in (apart, together):
        step = distiller.train()(data, [], 40.0)
        sum(step.terms.values()).backward()
        distiller.said = {**step.terms, **step.notes, **distiller.eval().predict(data.images)}
    for key, value in apart.said.items():
        torch.testing.assert_close(together.said[key], value, rtol=1e-10, atol=1e-10, msg=key)
    pairs = list(zip(apart.named_parameters(), together.named_parameters(), strict=True))
    assert all(one == other for (one, _), (other, _) in pairs)
    for (key, one), (_, other) in pairs:
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-10, atol=1e-10, msg=key)
    states = apart.state_dict(), together.state_dict()
    assert list(states[0]) == list(states[1])
    for key, value in states[0].items():
        torch.testing.assert_close(states[1][key], value, rtol=1e-10, atol=1e-10, msg=key)


def test_in_bfloat16_the_loss_is_the_same_but_for_its_rounding():
    apart, together = (built(OKDDip.Config(), way) for way in (False, True))
    exact = sum(copy.deepcopy(apart)(batch(torch.float32), [], 40.0).terms.values()).item()
    with torch.autocast("cpu", torch.bfloat16):
        losses = [sum(d(batch(torch.float32), [], 40.0).terms.values()) for d in (apart, together)]
    for loss, distiller in zip(losses, (apart, together), strict=True):
        loss.backward()
        assert loss.item() == pytest.approx(exact, rel=1e-3)
        assert {p.grad.dtype for p in distiller.parameters()} == {torch.float32}
    gradients = [torch.cat([p.grad.flatten() for p in d.parameters()]) for d in (apart, together)]
    assert (gradients[0] - gradients[1]).norm() < 0.05 * gradients[0].norm()


def test_students_that_can_not_run_together_are_refused_when_built():
    with pytest.raises(UserError, match=r"^method\.together: networks of shufflenetv2 can't run together"):
        OKDDip.Config(together=True).build(lambda: create("shufflenetv2", 5, 32), [])
