"""Networks with simulated int8 in training: values by hand, gradients, and comparison with onnxruntime's int8."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from raykd import UserError
from raykd.deploy.onnx.export import float_graph, runner
from raykd.deploy.onnx.int8 import Quantizer
from raykd.models import create, create_network
from raykd.models.config import Network
from raykd.models.fake_int8 import rounded_input, rounded_weight, train_in_int8
from tests.support.tiny_training import network


def test_weights_are_rounded_by_output_channel():
    weight = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 2, 6).view(
        -1, 1, 1, 1
    )
    exact = weight.double().numpy()
    steps = np.abs(exact).max((1, 2, 3), keepdims=True) / 127
    wanted = np.rint(exact / steps) * steps
    assert np.abs(rounded_weight(weight).numpy() - wanted).max() <= 1e-6 * np.abs(exact).max()
    assert len(np.unique(np.rint(rounded_weight(weight)[0].numpy() / steps[0]))) <= 255


@pytest.mark.parametrize("low, high", [(-1.0, 3.0), (0.5, 2.0), (-4.0, -1.0)])
def test_inputs_are_rounded_to_256_levels_that_include_zero(low, high):
    x = torch.empty(2, 3, 8, 8).uniform_(low, high, generator=torch.Generator().manual_seed(1))
    least, most = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    step = (most - least) / 255
    zero = np.rint(-128 - least / step)
    levels = np.clip(np.rint(x.double().numpy() / step) + zero, -128, 127)
    assert np.abs(rounded_input(x).numpy() - (levels - zero) * step).max() < 1e-5
    assert rounded_input(torch.zeros(2, 3)).equal(torch.zeros(2, 3))


def test_gradients_pass_straight_through():
    weight = torch.randn(5, 7, requires_grad=True)
    rounded_weight(weight).square().sum().backward()
    assert torch.allclose(weight.grad, 2 * rounded_weight(weight.detach()))


def test_rounding_applies_in_training_and_keeps_the_keys():
    plain, rounded = create("resnet8", 10, 32), create_network(Network(name="resnet8", int8=True), 10, 32)
    rounded.load_state_dict(plain.state_dict())
    images = torch.randn(4, 3, 32, 32)
    assert torch.equal(plain.eval()(images), rounded.eval()(images))
    assert not torch.equal(plain.train()(images), rounded.train()(images))
    rounded(images).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in rounded.parameters())


def test_outputs_equal_onnxruntimes_int8_except_for_the_last_rounding(tmp_path):
    torch.manual_seed(2)
    layers = [nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.Conv2d(16, 16, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)]
    model, images = nn.Sequential(*layers), torch.randn(32, 3, 16, 16)
    graph = float_graph(model.eval(), images)
    int8 = runner(Quantizer(graph, images, tmp_path).quantize())(images)
    of_float = model(images).detach()
    train_in_int8(SimpleNamespace(model=model, name="chain"))
    rounded = model.train()(images).detach()
    step = (int8.max() - int8.min()) / 255  # of the logits, which int8 rounds too
    assert (rounded - int8).abs().mean() < 0.35 * step  # 0.25 of nothing but that
    assert (rounded - int8).abs().mean() < 0.85 * (of_float - int8).abs().mean()


def test_a_network_without_such_layers_is_rejected():
    staged = network()
    for module in list(staged.model.modules()):
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.__class__ = type("Other", (type(module),), {})
    with pytest.raises(UserError, match="student.int8"):
        train_in_int8(staged)
