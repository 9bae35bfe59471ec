"""Frozen networks have the same outputs with fewer operations."""

import copy

import pytest
import torch
from torch import nn

from raykd.models import create
from raykd.models.frozen.freeze import foldable, freeze
from raykd.models.frozen.renormalize import renormalize
from raykd.models.staged import Parts, Staged

# BatchNorms that stay: those behind a sum, a concatenation or nothing, as in pre-activation networks.
LEFT = {
    "resnet8": 0,
    "resnet8x4": 0,
    "vgg8": 0,
    "wrn_16_1": 7,
    "mobilenetv2_half": 0,
    "shufflenetv1": 0,
    "shufflenetv2": 0,
    "densenet_bc_40_12": 21,
    "cifar_seresnet18": 0,
    "timm:efficientnet_b0": 0,
    "timm:repvgg_a0": 17,
    "torchvision:mobilenet_v2": 0,
}


def trained(name: str, size: int = 32) -> Staged:
    """A network whose BatchNorms have statistics and weights as if it had been trained."""
    torch.manual_seed(3)
    network = create(name, 10, size).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.5)
    return network


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@torch.no_grad()
def difference(one: Staged, other: Staged, images: torch.Tensor) -> float:
    """The largest difference of logits or of any feature, relative to the largest value of each."""
    (logits, features), (logits2, features2) = (n.output(images, tuple(n.shapes)) for n in (one, other))
    pairs = [(logits, logits2), (logits, other(images)), *((features[name], features2[name]) for name in features)]
    return max(((a - b).abs().max() / a.abs().max()).item() for a, b in pairs)


@pytest.mark.parametrize("name", LEFT)
def test_freezing_keeps_logits_and_features(name: str):
    network = trained(name)
    for kind, limit in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        plain = copy.deepcopy(network).to(kind)
        frozen = freeze(copy.deepcopy(plain))
        assert difference(plain, frozen, torch.randn(3, 3, 32, 32, dtype=kind)) < limit
        assert norms(frozen) == LEFT[name] < norms(plain)
        assert frozen.shapes == plain.shapes and frozen.sections == plain.sections
        assert not frozen.training and not any(p.requires_grad for p in frozen.parameters())


def test_freezing_keeps_the_head():
    network = trained("wrn_16_2").double()
    frozen = freeze(copy.deepcopy(network))
    feature_map = torch.randn(2, *network.shapes["stage3"], dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(frozen.classify(feature_map), network.classify(feature_map), rtol=1e-12, atol=1e-12)
    frozen.classify(feature_map).sum().backward()
    assert feature_map.grad.abs().sum() > 0


def test_a_renormalised_teacher_keeps_its_features():
    network = renormalize(trained("resnet8").double(), (0.5,) * 3, (0.25,) * 3, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    frozen = freeze(copy.deepcopy(network))
    assert norms(frozen) == 0 and difference(network, frozen, torch.randn(2, 3, 32, 32).double()) < 1e-12


class Tangled(nn.Module):
    """Convolutions that a BatchNorm may not be folded into: read twice, run twice; and one that it may."""

    def __init__(self):
        super().__init__()
        self.norm0 = nn.BatchNorm2d(4)
        self.twice, self.norm1 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.again, self.norm2 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.free, self.norm3 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.twice(self.norm0(x))
        y = self.norm1(y) + y
        y = self.again(self.norm2(self.again(y)))
        return self.norm3(self.free(y))


def test_only_convolutions_with_one_reader_are_folded():
    tangled = Tangled()
    model = nn.Sequential()
    model.add_module("feature", nn.Conv2d(3, 4, 1))  # handed out as "stem", then normalised
    model.add_module("middle", tangled)
    model.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    model.add_module("fc", nn.Linear(4, 10))
    sections = {"stem": ["feature"], "stages": [["middle"]], "pool": ["pool"], "head": ["fc"]}
    network = Staged(Parts(model, **sections), name="tangled", num_classes=10, image_size=8).double().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
    assert [norm for _, norm in foldable(network)] == [tangled.norm3]
    frozen = freeze(copy.deepcopy(network))
    assert difference(network, frozen, torch.randn(2, 3, 8, 8).double()) < 1e-12
