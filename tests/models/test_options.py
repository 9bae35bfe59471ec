"""Options of raykd's networks: dropout, and activations that are recomputed in the backward pass."""

import copy

import pytest
import torch
from torch import nn

from raykd import UserError
from raykd.models import create, create_network
from raykd.models.config import Network


def test_dropout_must_be_a_number():
    network = create("okddip_vgg16", 10, 32, options={"dropout": 0.3})
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.3, 0.3]
    assert [m.p for m in create("okddip_vgg16", 10, 32).modules() if isinstance(m, nn.Dropout)] == [0.0, 0.0]


@pytest.mark.parametrize(
    "name, options, said",
    [
        ("resnet8", {"dropout": 0.1}, "resnet8 has no option 'dropout'; it takes none"),
        ("okddip_vgg16", {"depth": 3}, "no option 'depth'; it has dropout"),
        ("okddip_vgg16", {"dropout": 1.5}, "can't be built"),
        (
            "timm:pvt_v2_b0",
            {"embed_dims": (8, 16, 31, 64)},
            r"'embed_dims': .* and images of 32×32 .*: change the options or",
        ),
    ],
)
def test_unknown_options_are_rejected(name: str, options: dict, said: str):
    with pytest.raises(UserError, match=said):
        create(name, 10, 32, options=options)


def step(network: nn.Module, images: torch.Tensor) -> tuple[dict[str, torch.Tensor], int]:
    """Gradients and running statistics after a training step, and how many values it kept for its backward pass."""
    kept: dict[int, int] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        kept[x.data_ptr()] = x.numel()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        loss = network.train()(images).square().sum()
    loss.backward()
    state = {f"d {name}": p.grad for name, p in network.named_parameters()} | dict(network.named_buffers())
    return state, sum(kept.values())


def test_recomputing_activations_only_saves_memory():
    torch.manual_seed(0)
    plain = create("densenet_bc_40_12", 10, 32)
    saving = create("densenet_bc_40_12", 10, 32, options={"recompute": True})
    saving.load_state_dict(copy.deepcopy(plain.state_dict()))
    images = torch.randn(4, 3, 32, 32)
    (expected, much), (found, less) = step(plain, images), step(saving, images)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert less < 0.8 * much


@pytest.mark.parametrize("name", ("resnet8", "torchvision:resnet18", "timm:resnetv2_50x1_bit"))
def test_a_head_can_start_at_zero(name: str):
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(create_network(Network(name, zero_head=True), 10, 32)(images), torch.zeros(2, 10))
    assert not torch.equal(create_network(Network(name), 10, 32)(images), torch.zeros(2, 10))
