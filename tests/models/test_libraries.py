"""torchvision's and timm's families in stages: outputs, keys and initialisation equal the library's."""

import pytest
import timm
import torch
import torchvision

from raykd import UserError
from raykd.models import create, names, published

FAMILIES = {
    "torchvision:resnet18": 64,
    "torchvision:resnext50_32x4d": 32,
    "torchvision:vgg11_bn": 32,
    "torchvision:mobilenet_v2": 32,
    "torchvision:mobilenet_v3_small": 32,
    "torchvision:shufflenet_v2_x0_5": 32,
    "torchvision:densenet121": 32,
    "torchvision:efficientnet_b0": 32,
    "torchvision:convnext_tiny": 32,
    "torchvision:regnet_y_400mf": 32,
    "timm:resnet10t": 64,
    "timm:seresnet50": 32,
    "timm:legacy_seresnet18": 64,
    "timm:mobilenetv2_035": 32,
    "timm:mobilenetv3_small_050": 32,
    "timm:densenet121": 32,
    "timm:efficientnet_b0": 32,
    "timm:efficientnet_blur_b0": 32,
    "timm:convnext_atto": 32,
    "timm:resnetv2_50x1_bit": 32,
    "timm:regnety_002": 32,
    "timm:repvgg_a0": 32,
}


def library_model(name):
    library, name = name.split(":")
    if library == "timm":
        return timm.create_model(name, num_classes=7)
    return torchvision.models.get_model(name, weights=None, num_classes=7)


@pytest.mark.parametrize(("name", "size"), FAMILIES.items())
def test_sections_together_equal_the_network(name, size):
    torch.manual_seed(0)
    network = create(name, 7, size).eval()
    torch.manual_seed(0)
    library = library_model(name).eval()
    own, theirs = network.model.state_dict(), library.state_dict()
    assert list(own) == list(theirs)
    assert all(torch.equal(own[key], theirs[key]) for key in own)

    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        whole, output = library(x), network.output(x, tuple(network.shapes))
        assert torch.equal(output.logits, whole)
        assert torch.equal(network(x), whole)
        assert torch.equal(network.classify(output.features[network.last_stage]), whole)
        # What one stage gave is what the next one gets, after the rest has run: nothing in place has touched it.
        for stage, before in zip(network.stages, ("stem", *network.stages), strict=False):
            assert torch.equal(network.trunk(x, stage), output.features[before])
            assert torch.equal(network.run_from(stage, output.features[before], ()).logits, whole)
    assert {name: tuple(f.shape[1:]) for name, f in output.features.items()} == network.shapes
    assert len(network.shapes["pooled"]) == 1
    assert own[f"{network.classifiers[0]}.weight"].shape[0] == 7


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("torchvision:densenet121", {}),
        ("torchvision:mobilenet_v2", {}),
        ("timm:resnetv2_50x1_bit", {}),
        ("timm:resnet10t", {"drop_rate": 0.5}),
        ("timm:legacy_seresnet18", {"drop_rate": 0.5}),
        ("timm:mobilenetv2_035", {"drop_rate": 0.5}),
        ("timm:mobilenetv3_small_050", {"drop_rate": 0.5}),
        ("timm:test_convnext", {"drop_rate": 0.5, "drop_path_rate": 0.5}),
    ],
)
def test_gradients_through_sections_equal_those_of_the_network(name, options):
    network, x = create(name, 7, 32, options=options).train(), torch.randn(4, 3, 32, 32)
    gradients = []
    for run in (network, lambda images: network.output(images, ()).logits):
        network.zero_grad()
        torch.manual_seed(1)  # dropout
        run(x).square().sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("name", ["torchvision:vgg11_bn", "timm:resnetv2_50x1_bit", "torchvision:densenet121"])
def test_branches_share_a_trunk(name):
    leader, peer = create(name, 7, 32).eval(), create(name, 7, 32).eval()
    peer.share_trunk(leader, before=peer.last_stage)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        entering = leader.trunk(x, peer.last_stage)
        assert torch.equal(peer(x), peer.run_from(peer.last_stage, entering, ()).logits)
        assert not torch.equal(peer(x), leader(x))


@pytest.mark.parametrize("name", [n for n in FAMILIES if not n.endswith(("shufflenet_v2_x0_5", "vgg11_bn"))])
def test_four_stages_halve_the_map(name):
    shapes = create(name, 7, 64).shapes
    assert [shapes[f"stage{i}"][1:] for i in range(1, 5)] == [(16, 16), (8, 8), (4, 4), (2, 2)]


@pytest.mark.parametrize(
    ("name", "stem", "last"),
    [
        ("timm:resnet10t", 16, 512),
        ("timm:legacy_seresnet18", 16, 512),
        ("timm:densenet121", 16, 1024),
        ("timm:mobilenetv2_035", 32, 1280),
        ("timm:mobilenetv3_small_050", 32, 288),
        ("timm:repvgg_a0", 32, 1280),
        ("timm:convnext_atto", 16, 320),
    ],
)
def test_the_first_pooling_is_part_of_the_stem_and_the_last_convolution_of_the_last_stage(name, stem, last):
    shapes = create(name, 7, 64).shapes
    assert (shapes["stem"][1], shapes["stage4"][0]) == (stem, last)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet33", "unknown network 'resnet33': did you mean .*resnet32"),
        ("resnet50", "did you mean torchvision:resnet50, timm:resnet50"),
        ("torchvision:resnet19", "did you mean .*resnet18"),
        ("timm:resnetv2_50x1_bitt", "did you mean .*resnetv2_50x1_bit"),
        ("keras:resnet50", "unknown library 'keras'.*modules that the recipe imports"),
        ("torchvision:inception_v3", "can't take images of 32×32 pixels"),
        ("timm:vit_base_patch32_224.none", "vit_base_patch32_224"),
    ],
)
def test_networks_that_cannot_be_built_are_rejected_in_one_line(name, message):
    with pytest.raises(UserError, match=message) as caught:
        create(name, 7, 32)
    assert "\n" not in str(caught.value)


def test_own_networks_have_no_published_weights():
    with pytest.raises(UserError, match="resnet8 has no published weights"):
        create("resnet8", 7, 32, weights="pretrained")


def test_a_failed_download_is_reported_in_one_line(monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("timm.create_model", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    for name in ("timm:resnet18", "torchvision:resnet18"):
        with pytest.raises(UserError, match=f"weights of {name} could not be .*no route to host.*give a file"):
            create(name, 7, 32, weights="pretrained")


@pytest.mark.parametrize(("num_classes", "kept"), [(1000, True), (7, False)])
def test_pretrained_weights_exclude_a_classifier_of_other_classes(monkeypatch, num_classes, kept):
    published = torchvision.models.mobilenet_v2(weights=None).state_dict()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: published)
    network = create("torchvision:mobilenet_v2", num_classes, 32, weights="pretrained")
    for key, tensor in network.model.state_dict().items():
        same = tensor.shape == published[key].shape and torch.equal(tensor, published[key])
        assert same == (kept or not key.startswith("classifier.1")), key


def test_normalisation_comes_from_the_weights():
    assert published("timm:resnetv2_50x1_bit")[:2] == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert published("torchvision:resnet18")[:2] == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_the_list_has_a_line_for_each_network():
    listed = dict(names())
    assert {"resnet32", "wrn_16_2", "vgg8", "mobilenetv2_half", "torchvision:NAME", "timm:NAME"} <= listed.keys()
    assert all(line and "\n" not in line for line in listed.values())


def test_aliases_name_the_same_network():
    assert create("ShuffleV2", 7, 32).shapes == create("shufflenetv2", 7, 32).shapes
