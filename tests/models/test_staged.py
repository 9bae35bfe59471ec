"""`Staged`: sections together equal the network, and forward passes can start at, and share, any stage."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from raykd import UserError
from raykd.models import create, names
from raykd.models.staged import Parts, Staged
from raykd.models.staged.layers import mean_pool

OWN = [name for name, _ in names() if ":" not in name]
LARGE = ("cifar_", "110", "wide", "_imagenet", "seresnet", "resnext", "densenet_bc_1", "double")
SMALL = [name for name in OWN if not any(part in name for part in LARGE)]


def images(size, batch=2):
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return create("resnet8", 7, 16).eval()


@pytest.mark.parametrize("name", SMALL)
def test_sections_together_equal_the_network(name):
    torch.manual_seed(0)
    size = 32 if name.startswith("teskd_vgg") else 16
    network = create(name, 7, size).eval()
    x = images(size)
    with torch.no_grad():
        whole, output = network(x), network.output(x, tuple(network.shapes))
        assert torch.equal(whole, output.logits)
        assert torch.equal(network.classify(output.features[network.last_stage]), whole)
        for stage, before in zip(network.stages, ("stem", *network.stages), strict=False):
            entering = network.trunk(x, stage)
            assert torch.equal(entering, output.features[before])
            assert torch.equal(network.run_from(stage, entering, ()).logits, whole)
    assert {name: tuple(f.shape[1:]) for name, f in output.features.items()} == network.shapes
    assert network.width("pooled") == output.features["pooled"].shape[1]
    assert network.model.get_submodule(network.classifiers[0]).weight.shape[0] == 7


ACTIVATED = ("resnet8", "resnet8x4", "okddip_resnet110", "vgg8", "shufflenetv1", "cifar_seresnet18")
LIBRARY = ("torchvision:resnet18", "torchvision:resnet50", "torchvision:vgg11_bn", "timm:resnet50", "timm:resnest14d")


@pytest.mark.parametrize("name", [*ACTIVATED, *LIBRARY])
def test_a_stage_is_the_relu_of_its_pre_activation(name):
    network = create(name, 7, 64).train()
    with torch.no_grad():
        output = network.output(images(64), tuple(network.shapes))
    for stage in network.stages:
        before = output.features[f"{stage}.pre"]
        assert torch.equal(before.relu(), output.features[stage])


def test_wide_resnet_pre_activations_update_batch_statistics_once():
    network = create("wrn_16_1", 7, 32).train()
    asked, plain = copy.deepcopy(network), copy.deepcopy(network)
    with torch.no_grad():
        output, _ = asked.output(images(32), ("stage1", "stage1.pre", "stage2.pre")), plain(images(32))
        norm = network.model.get_submodule("block2.layer.0.bn1")
        assert torch.equal(output.features["stage1.pre"], norm(output.features["stage1"]))
    assert all(torch.equal(a, b) for a, b in zip(asked.buffers(), plain.buffers(), strict=True))


def test_a_network_lists_its_pre_activations():
    with pytest.raises(UserError, match=r"no feature 'stage1.pre'; it has stem, .*stage3.pre"):
        create("densenet_bc_40_12", 7, 16).output(images(16), ("stage1.pre",))


@pytest.mark.parametrize("name", [n for n in OWN if n.startswith("cifar_") and n not in ("cifar_vgg11", "cifar_vgg13")])
def test_four_stages_halve_the_map(name):
    shapes = create(name, 7, 32).shapes
    sides = [shapes[f"stage{i}"][1] for i in range(1, 5)]
    assert sides == [sides[0] >> i for i in range(4)]
    assert shapes["pooled"] == shapes["stage4"][:1]


def test_vgg_pools_before_its_last_block_from_64_pixels_on():
    assert create("vgg8", 7, 32).shapes["stage4"] == (512, 4, 4)
    assert create("vgg8", 7, 64).shapes["stage3"] == (512, 8, 8)
    assert create("vgg8", 7, 64).shapes["stage4"] == (512, 4, 4)


def test_sharing_a_trunk_keeps_both_networks_complete(network):
    leader, peer = copy.deepcopy(network), create("resnet8", 7, 16).eval()
    own = {key: tensor.clone() for key, tensor in peer.model.state_dict().items()}
    peer.share_trunk(leader, before="stage3")
    x = images(16)
    assert torch.equal(peer.trunk(x, "stage3"), leader.trunk(x, "stage3"))
    assert torch.equal(peer(x), peer.run_from("stage3", leader.trunk(x, "stage3"), ()).logits)
    shared = {id(p) for p in leader.parameters()} & {id(p) for p in peer.parameters()}
    after = sum(
        len(list(network.modules_of(s)[p].parameters())) for s in ("stage3", "head") for p in network.modules_of(s)
    )
    assert len(shared) == len(list(network.parameters())) - after
    assert all(torch.equal(t, own[k]) for k, t in peer.model.state_dict().items() if k.startswith(("layer3", "fc")))
    assert peer.model.state_dict().keys() == own.keys()
    peer(x).sum().backward()
    assert leader.model.conv1.weight.grad is not None


def test_sharing_the_trunk_of_another_network_is_rejected(network):
    with pytest.raises(UserError, match="resnet8.*resnet14"):
        create("resnet8", 7, 16).share_trunk(create("resnet14", 7, 16), before="stage2")


def test_unknown_features_and_stages_are_named(network):
    for wrong in (
        lambda: network.output(images(16), {"stage9"}),
        lambda: network.width("stage9"),
        lambda: network.trunk(images(16), "stage9"),
        lambda: network.run_from("stage9", images(16), ()),
        lambda: network.share_trunk(network, "stage9"),
    ):
        with pytest.raises(UserError, match="resnet8.*'stage9'.*stage1"):
            wrong()


def test_measuring_shapes_changes_nothing(network):
    fresh = create("resnet8", 7, 16)
    assert fresh.training and fresh.model.training
    assert all(b.count_nonzero() == 0 for n, b in fresh.named_buffers() if "mean" in n or "batches" in n)


def test_staged_keeps_the_networks_keys():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(4, 7))
    parts = Parts(model, stem=("0",), stages=(("1",),), pool=(mean_pool,), head=("2",))
    staged = Staged(parts, name="own", num_classes=7, image_size=8)
    assert list(staged.model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert list(staged.state_dict()) == ["model." + key for key in model.state_dict()]
    assert staged.classifiers[0] == "2"


def test_too_small_images_are_rejected():
    with pytest.raises(UserError, match="vgg8 can't take images of 4×4 pixels"):
        create("vgg8", 7, 4)


def test_importing_the_package_is_cheap():
    code = (
        "import sys, raykd.models, raykd.models.config; assert not {'torch', 'timm', 'torchvision'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
