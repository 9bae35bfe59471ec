"""Networks as one pass say, learn and remember what they do apart; those that would not are refused."""

import copy

import pytest
import torch

from raykd import UserError
from raykd.models import create
from raykd.models.frozen import freeze
from raykd.models.stacked import Stacked, expect_stackable
from raykd.models.staged import Staged
from tests.train import tiny

# Residual, pre-activation, plain, depthwise; from inside and whole.
NETWORKS = [
    ("resnet8", "stage3"),
    ("resnet8", "stem"),
    ("wrn_16_1", "stage2"),
    ("vgg8", "stage4"),
    ("mobilenetv2_half", "stage4"),
    ("tiny", "stage1"),  # GroupNorm, convolutions with a bias
]


def networks(name: str, count: int = 3) -> list[Staged]:
    torch.manual_seed(0)
    return [tiny.network() if name == "tiny" else create(name, 10, 32) for _ in range(count)]


def entering(network: Staged, start: str, count: int) -> list[torch.Tensor]:
    images = torch.randn(count, 4, 3, 32, 32, dtype=torch.float64)
    return [copy.deepcopy(network).double().trunk(x, start).detach().requires_grad_() for x in images]


def learn(say, each: list[Staged], x: list[torch.Tensor]) -> list[torch.Tensor]:
    """Outputs of two steps and one evaluation, gradients of inputs and parameters, running statistics."""
    found = []
    for training in (True, True, False):
        for network in each:
            network.train(training)
        outputs = say(training)
        tensors = [t for o in outputs for t in (o.logits, *(o.features[name] for name in sorted(o.features)))]
        sum(((i + 1) * t.square()).mean() for i, t in enumerate(tensors)).backward()
        found += [t.detach() for t in tensors]
    parameters = [p.grad for network in each for p in network.parameters() if p.grad is not None]
    return found + [t.grad for t in x] + parameters + [b for network in each for b in network.buffers()]


@pytest.mark.parametrize(("name", "start"), NETWORKS)
def test_together_is_apart_in_float64(name: str, start: str):
    apart = networks(name)
    for parameter in apart[1].parameters():  # as after some training
        torch.nn.init.normal_(parameter, std=0.2)
    apart = [network.double() for network in apart]
    together, x = copy.deepcopy(apart), entering(apart[0], start, 3)
    y = [t.detach().clone().requires_grad_() for t in x]
    expect_stackable(together, start, "field")
    stacked, features = Stacked(together, start), (apart[0].last_stage, "pooled")
    expected = learn(lambda _: [n.run_from(start, t, features) for n, t in zip(apart, x)], apart, x)
    found = learn(lambda training: stacked.train(training)(y, features), together, y)
    assert len(found) == len(expected) > 3 * 3 * 3
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_it_owns_nothing_and_a_copy_reads_the_copied_networks():
    both = torch.nn.ModuleDict({"each": torch.nn.ModuleList(networks("resnet8"))}).double()
    keys, x = set(both.state_dict()), [torch.randn(4, 32, 16, 16).double()] * 3
    both["stacked"] = Stacked(list(both["each"]), "stage3")
    assert set(both.state_dict()) == keys and not list(both["stacked"].parameters())
    twin = copy.deepcopy(both).eval()
    with torch.no_grad():
        for parameter in twin["each"].parameters():
            parameter.mul_(0.9)
        expected = [network.run_from("stage3", t, ()).logits for network, t in zip(twin["each"], x)]
        for found, one in zip(twin["stacked"](x, ()), expected, strict=True):
            torch.testing.assert_close(found.logits, one, rtol=1e-10, atol=1e-10)
        assert not torch.allclose(both.eval()["stacked"](x, ())[0].logits, expected[0])


@pytest.mark.parametrize("name", ["resnet8x4", "wrn_16_1"])  # BatchNorm folded, and not
def test_frozen_networks_give_their_features_in_float32(name: str):
    each = [freeze(network) for network in networks(name)]
    images, features = torch.randn(4, 3, 32, 32), tuple(each[0].shapes)
    with torch.no_grad():
        found = Stacked(each, "stem", frozen=True)([images] * 3, features)
        for output, network in zip(found, each, strict=True):
            logits, kept = network.output(images, features)
            torch.testing.assert_close(output.logits, logits, rtol=1e-4, atol=1e-4)
            assert all((output.features[n] - kept[n]).norm() <= 1e-5 * kept[n].norm() for n in features)


@pytest.mark.parametrize(
    ("name", "frozen", "why"),
    [
        ("shufflenetv1", True, "mixes channels"),
        ("densenet_bc_40_12", True, "mixes channels"),
        ("okddip_vgg16_dropout", False, "Dropout in training"),
        ("torchvision:efficientnet_b0", False, "StochasticDepth in training"),
        ("timm:efficientnet_b0", True, "BatchNormAct2d layers"),
    ],
)
def test_what_can_not_run_together_is_refused(name: str, frozen: bool, why: str):
    torch.manual_seed(1)
    pair = [create(name, 10, 32) for _ in range(2)]
    state = torch.get_rng_state()
    with pytest.raises(UserError, match=f"^method.together: networks of {name} can't run together.*{why}"):
        expect_stackable(pair, pair[0].last_stage, "method.together", frozen)
    assert torch.equal(state, torch.get_rng_state())


def test_networks_of_two_architectures_are_refused():
    with pytest.raises(UserError, match="one architecture"):
        expect_stackable([create("resnet8", 10, 32), create("resnet14", 10, 32)], "stem", "teachers.together", True)
