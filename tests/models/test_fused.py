"""Frozen networks as run on a GPU: the same outputs with fewer kernels."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._dynamo.utils import counters

from raykd.models import create
from raykd.models.frozen.freeze import freeze
from raykd.models.frozen.fused import conv_add_relu, conv_relu, fuse, trace_network
from raykd.teachers.frozen_teacher import FrozenTeacher, TeacherPrecision

CHAINS = ["resnet56", "resnet8x4", "wrn_40_2", "vgg13", "shufflenetv1", "densenetd40k12", "cifar_resnet18"]
LIBRARIES = ["torchvision:resnet18", "timm:resnet50", "timm:resnetv2_50x1_bit", "timm:convnext_atto"]


@pytest.mark.parametrize("name", CHAINS + LIBRARIES)
@torch.no_grad()
def test_a_fused_network_has_the_same_outputs(name):
    network = freeze(create(name, 10, 64 if ":" in name else 32))
    features = tuple(network.shapes)
    images = torch.randn(2, 3, network.image_size, network.image_size)
    expected = network.output(images, features)
    logits, *maps = fuse(trace_network(network, features))(images)
    torch.testing.assert_close(logits, expected.logits)
    for feature, found in zip(features, maps, strict=True):
        torch.testing.assert_close(found, expected.features[feature])


@pytest.mark.parametrize("name", ["torchvision:mnasnet0_5", "timm:vit_tiny_patch16_224"])
@torch.no_grad()
def test_features_of_networks_that_run_as_a_whole_are_not_lost_in_tracing(name):
    """Their readers catch features by hooks, some of them on single layers."""
    network = freeze(create(name, 10, 224))
    images, features = torch.randn(1, 3, 224, 224), (network.last_stage, "pooled")
    expected = network.output(images, features)
    logits, *maps = fuse(trace_network(network, features))(images)
    torch.testing.assert_close(logits, expected.logits)
    for feature, found in zip(features, maps, strict=True):
        torch.testing.assert_close(found, expected.features[feature])


def test_every_relu_of_a_resnet_is_fused():
    """27 blocks of two, and the stem; the two shortcuts that have a convolution have no ReLU of their own."""
    graph = fuse(trace_network(freeze(create("resnet56", 10, 32)), ())).graph
    calls = [node.target for node in graph.nodes if node.op == "call_function"]
    assert calls.count(conv_relu) == 28 and calls.count(conv_add_relu) == 27
    assert F.relu not in calls


class Counted(nn.Module):
    """A network whose Python code depends on a number that it computed, which torch.fx can't trace."""

    def output(self, images, features):
        from raykd.contract import Output

        return Output(images * (2.0 if images.sum() > 0 else 1.0), {})


def test_a_network_that_cannot_be_traced_is_left_unchanged():
    assert fuse(trace_network(Counted(), ()))(torch.ones(1))[0] == 2


@pytest.mark.parametrize("name", ["timm:resnetv2_50x1_bit", "timm:nf_resnet26"])
@torch.no_grad()
def test_standardised_convolutions_become_plain_ones(name):
    network = create(name, 10, 64).eval()
    images = torch.randn(2, 3, 64, 64)
    expected = copy.deepcopy(network).double()(images.double())
    torch.testing.assert_close(freeze(network)(images).double(), expected, rtol=1e-3, atol=1e-4)
    assert {type(m) for m in network.modules() if isinstance(m, nn.Conv2d)} == {nn.Conv2d}


def test_compiled_teachers_are_compiled_separately(monkeypatch):
    """torch.compile gives up a function after eight variants, without a word: three teachers in four forms are more."""
    compile_as_usual = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module: compile_as_usual(module, backend="eager"))
    torch._dynamo.reset()
    counters.clear()
    images = torch.randn(1, 3, 32, 32)
    for name in ("resnet8", "resnet14", "resnet20"):
        network = freeze(create(name, 10, 32))
        for form in (
            TeacherPrecision("recipe", "compiled"),
            TeacherPrecision("bfloat16", "compiled"),
            TeacherPrecision("float16", "compiled"),
        ):
            teacher = FrozenTeacher(name, network, "", 0, precision=form)
            with torch.no_grad():
                teacher.output(images, ())
    assert counters["frames"]["ok"] == 9 and not counters["unimplemented"]
