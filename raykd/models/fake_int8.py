"""Quantisation-aware training: inputs and weights of convolutions and linear layers are rounded to 8 bits.

As in "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (Jacob et al., CVPR
2018), with the scheme of `raykd.deploy.onnx.int8`: weights per output channel, symmetric; inputs per tensor, from the
least to the greatest value of the batch. Gradients pass straight through. A BatchNorm after a convolution needs no
special treatment: folding it scales each output channel, and so the channel's step.

It uses torch's own operations, without state: the keys of the state_dict don't change, and a resumed run computes the
same. torchao (0.18) rounds only linear layers, or graphs of torch.export, which have no stages to distil.
"""

import torch
from torch import Tensor, nn

from raykd import UserError
from raykd.models.staged import Staged

LEAST_STEP = 1e-12


def rounded_weight(weight: Tensor) -> Tensor:
    """A weight [D, …] with each output channel rounded to 255 steps around 0; its largest magnitude is 127 steps."""
    with torch.no_grad():
        steps = (weight.flatten(1).abs().amax(1).float() / 127).clamp_min(LEAST_STEP)
        zeros = torch.zeros_like(steps, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, steps, zeros, 0, -127, 127)


def rounded_input(x: Tensor) -> Tensor:
    """A batch of any shape, rounded to 256 steps from its least to its greatest value; 0 is one of them."""
    x = x.float()
    with torch.no_grad():
        low, high = x.aminmax()
        low, high = low.clamp_max(0), high.clamp_min(0)
        step = ((high - low) / 255).clamp_min(LEAST_STEP)
        zero = (-128 - low / step).round().clamp(-128, 127).to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(x, step, zero, -128, 127)


class Int8Conv2d(nn.Conv2d):
    """nn.Conv2d, rounded while it trains."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        return self._conv_forward(rounded_input(x), rounded_weight(self.weight), self.bias)


class Int8Linear(nn.Linear):
    """nn.Linear, rounded while it trains."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        return nn.functional.linear(rounded_input(x), rounded_weight(self.weight), self.bias)


ROUNDED: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: Int8Conv2d, nn.Linear: Int8Linear}


def train_in_int8(network: Staged) -> None:
    """Let the network's convolutions and linear layers round in training mode; evaluation stays in float.

    Raises UserError if it has no such layers.
    """
    layers = [module for module in network.model.modules() if type(module) in ROUNDED]
    if not layers:
        raise UserError(f"student.int8: {network.name} has no plain convolution or linear layer to quantise: remove it")
    for module in layers:
        module.__class__ = ROUNDED[type(module)]  # parameters, hooks and keys are unchanged
