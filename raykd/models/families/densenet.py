"""DenseNet-BC for images of 32 pixels: Huang et al. 2017; bottlenecks of 4k channels, compression 0.5."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from raykd.models.initial import normal_by_fan_in, zero_linear_bias
from raykd.models.staged.layers import average_pool, conv, named
from raykd.models.staged.parts import Parts

STEM = 24  # channels, as in OKDDip's code; the paper has twice the growth


class DenseLayer(nn.Module):
    """BN-ReLU-1×1, BN-ReLU-3×3, concatenated to its input: [B, D, h, w] → [B, D + growth, h, w].

    recompute: the outputs of the first norm and ReLU, which grow with the square of the depth, are not saved for the
    backward pass but computed again in it (Pleiss et al. 2017); the result is the same.
    """

    def __init__(self, channels: int, growth: int, recompute: bool):
        super().__init__()
        self.recompute = recompute
        self.norm1, self.conv1 = nn.BatchNorm2d(channels), conv(channels, 4 * growth, 1)
        self.norm2, self.conv2 = nn.BatchNorm2d(4 * growth), conv(4 * growth, growth, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.recompute and self.training and torch.is_grad_enabled():
            again = partial(_without_statistics, self)
            y = checkpoint(self.bottleneck, x, use_reentrant=False, context_fn=lambda: (nullcontext(), again()))
        else:
            y = self.bottleneck(x)
        return torch.cat([x, self.conv2(F.relu(self.norm2(y)))], 1)

    def bottleneck(self, x: Tensor) -> Tensor:
        return self.conv1(F.relu(self.norm1(x)))


@contextmanager
def _without_statistics(layer: DenseLayer) -> Iterator[None]:
    """Context in which the first norm updates copies of its running statistics, as they have counted this batch."""
    own = dict(layer.norm1.named_buffers())
    try:
        for name, buffer in own.items():
            setattr(layer.norm1, name, buffer.clone())
        yield
    finally:
        for name, buffer in own.items():
            setattr(layer.norm1, name, buffer)


def transition(channels: int) -> nn.Sequential:
    pieces = {"norm": nn.BatchNorm2d(channels), "relu": nn.ReLU(), "conv": conv(channels, channels // 2, 1)}
    return named(**pieces, pool=nn.AvgPool2d(2))


def densenet_bc(num_classes: int, image_size: int, *, depth: int, growth: int, recompute: bool = False) -> Parts:
    """Three dense blocks of (depth − 4) / 6 layers after a stem of 24 channels, for any growth.

    A stage ends with the transition that follows its block, as OKDDip cuts: branches own the last block, not the
    transition before it.
    """
    channels = STEM
    features: dict[str, nn.Module] = {"conv0": conv(3, STEM, 3)}
    for i in range(1, 4):
        widths = [channels + j * growth for j in range((depth - 4) // 6)]
        layers = {f"denselayer{j + 1}": DenseLayer(width, growth, recompute) for j, width in enumerate(widths)}
        channels += len(layers) * growth
        features[f"denseblock{i}"] = named(**layers)
        if i < 3:
            features[f"transition{i}"] = transition(channels)
            channels //= 2
    features |= {"norm_final": nn.BatchNorm2d(channels), "relu_final": nn.ReLU()}
    model = named(features=named(**features), **average_pool(), classifier=nn.Linear(channels, num_classes))
    normal_by_fan_in(model)
    zero_linear_bias(model)
    first, second = (tuple(f"features.{part}{i}" for part in ("denseblock", "transition")) for i in (1, 2))
    last = ("features.denseblock3", "features.norm_final", "features.relu_final")
    return Parts(model, ("features.conv0",), (first, second, last), ("pool", "flatten"), ("classifier",))


NETWORKS = {
    f"densenet_bc_{depth}_{growth}": (
        f"CIFAR DenseNet-BC, {depth} layers, growth {growth}; option recompute, to save memory",
        partial(densenet_bc, depth=depth, growth=growth),
    )
    for depth, growth in ((40, 12), (100, 12), (100, 40), (190, 12))
}
