"""One network of every family of timm and torchvision: the library's logits and keys; features; freezing;
reordering."""

import copy

import pytest
import timm
import torch
import torchvision

from raykd.models import create
from raykd.models.frozen.freeze import freeze
from raykd.models.heads import select_classes
from raykd.models.libraries.probe import stage_modules
from tests.support.network_families import LARGE, OPTIONS, SMALL


def library_model(name, size):
    library, _, inner = name.partition(":")
    if library == "timm":
        sized = {"img_size": size} if timm.get_pretrained_cfg(inner).fixed_input_size else {}
        return timm.create_model(inner, num_classes=7, **sized, **OPTIONS.get(name, {}))
    more = {"aux_logits": False, "init_weights": True} if inner in ("googlenet", "inception_v3") else {}
    more |= {"image_size": size} if inner.startswith("vit") else {}
    more |= {"input_size": (size, size)} if inner == "maxvit_t" else {}
    return torchvision.models.get_model(inner, weights=None, num_classes=7, **more)


@torch.no_grad()
def check(name, size):
    torch.manual_seed(0)
    network = create(name, 7, size, options=OPTIONS.get(name, {})).eval()
    torch.manual_seed(0)
    library = library_model(name, size).eval()
    own, theirs = network.model.state_dict(), library.state_dict()
    assert list(own) == list(theirs)
    assert all(torch.equal(own[key], theirs[key]) for key in own)

    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    whole, output = library(images), network.output(images, tuple(network.shapes))
    assert torch.equal(network(images), whole)
    torch.testing.assert_close(output.logits, whole, rtol=1e-4, atol=1e-5)
    assert {feature: tuple(x.shape[1:]) for feature, x in output.features.items()} == network.shapes
    assert all(len(network.shapes[stage]) == 3 for stage in network.stages) and len(network.shapes["pooled"]) == 1

    first = network.stages[:1]
    alone = network.output(images, first)
    torch.testing.assert_close(alone.logits, whole, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(alone.features[stage], output.features[stage]) for stage in first)

    reordered = copy.deepcopy(network)
    select_classes(reordered, ((6,), (0,), (3,)))
    torch.testing.assert_close(reordered(images), whole[:, [6, 0, 3]], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(freeze(network)(images), whole, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("name", "size"), SMALL.items())
def test_every_family_equals_its_librarys_network(name, size):
    check(name, size)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), LARGE.items())
def test_large_families_equal_their_librarys_network(name, size):
    check(name, size)


def test_every_family_of_timm_is_tested():
    """Every module of timm that defines networks has one here."""
    from timm.models._registry import _model_to_module

    covered = {_model_to_module[name.partition(":")[2]] for name in SMALL | LARGE if name.startswith("timm:")}
    missing = {_model_to_module[name] for name in timm.list_models()} - covered
    assert not missing, f"no network of timm's {missing}"


def test_every_family_of_torchvision_is_tested():
    def module_of(name):
        return torchvision.models.get_model_builder(name).__module__

    covered = {module_of(name.partition(":")[2]) for name in SMALL | LARGE if name.startswith("torchvision:")}
    missing = {module_of(name) for name in torchvision.models.list_models(module=torchvision.models)} - covered
    assert not missing, f"no network of torchvision's {missing}"


STAGES = {
    "alexnet": ("features.1", "features.4", "features.11", "features.12"),
    "squeezenet1_1": ("features.1", "features.4", "features.7", "features.12"),
    "mnasnet0_5": ("layers.8", "layers.9", "layers.11", "layers.16"),
    "googlenet": ("conv3", "inception3b", "inception4e", "inception5b"),
    "inception_v3": ("Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c"),
    "swin_t": ("features.1", "features.3", "features.5", "features.7"),
    "maxvit_t": ("blocks.0", "blocks.1", "blocks.2", "blocks.3"),
    "vit_b_32": tuple(f"encoder.layers.encoder_layer_{i}" for i in (2, 5, 8, 11)),
}


@pytest.mark.parametrize(("name", "modules"), STAGES.items())
def test_the_stages_of_a_network_are_the_modules_before_its_map_becomes_smaller(name, modules):
    """On images of any size, also if the last maps have a single pixel."""
    for size in (32, 224) if name in ("googlenet", "vit_b_32") else (224,):
        sized = {"image_size": size} if name == "vit_b_32" else {}
        with torch.device("meta"):
            network = torchvision.models.get_model(name, weights=None, **sized)
        assert tuple(stage_modules(network, size)) == modules
