"""Small modules, and groups of parts, that definitions of networks share."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from raykd.models.staged.parts import ModuleCall, Part


def named(**modules: nn.Module) -> nn.Sequential:
    """nn.Sequential of modules under their own names."""
    return nn.Sequential(OrderedDict(modules))


def conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Bias-free convolution with "same" padding for odd kernels."""
    return nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)


def stage(
    block: Callable[[int, int, int], nn.Module], in_channels: int, out_channels: int, depth: int, stride: int
) -> nn.Sequential:
    """`depth` blocks, built from their input channels, output channels and stride; only the first one strides."""
    first = block(in_channels, out_channels, stride)
    return nn.Sequential(first, *(block(out_channels, out_channels, 1) for _ in range(depth - 1)))


def blocks_before_activation(
    name: str, count: int, before_activation: Callable[[Any, Tensor], Tensor]
) -> tuple[Part, ...]:
    """The blocks of the Sequential `name`, with the last block's final ReLU as a part of its own."""
    blocks = [f"{name}.{i}" for i in range(count)]
    return (*blocks[:-1], ModuleCall(blocks[-1], before_activation), F.relu)


def average_pool() -> dict[str, nn.Module]:
    """Global average pooling, [B, D, h, w] → [B, D]."""
    return {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}


def flatten(x: Tensor) -> Tensor:
    """[B, D, ...] → [B, …]."""
    return x.flatten(1)


def one_pixel(x: Tensor) -> Tensor:
    """[B, D] → [B, D, 1, 1], for heads that are 1×1 convolutions."""
    return x[:, :, None, None]


def mean_pool(x: Tensor) -> Tensor:
    """[B, D, h, w] → [B, D]."""
    return x.mean((2, 3))


def to_last(x: Tensor) -> Tensor:
    """[B, D, h, w] → [B, h, w, D]."""
    return x.permute(0, 2, 3, 1)


def to_first(x: Tensor) -> Tensor:
    """[B, h, w, D] → [B, D, h, w]."""
    return x.permute(0, 3, 1, 2)


def to_tokens(x: Tensor, prefix: int = 0) -> Tensor:
    """[B, D, h, w] → [B, prefix + h w, D]: first tokens that are 0, as whatever they were isn't in the map."""
    return F.pad(x.flatten(2).transpose(1, 2), (0, 0, prefix, 0))


def transpose(x: Tensor) -> Tensor:
    """[B, N, D] → [B, D, N]."""
    return x.transpose(1, 2)


def strides(module: nn.Module) -> bool:
    """Whether the module makes the map smaller."""
    values = (getattr(part, "stride", 1) for part in module.modules())
    return any(stride not in (1, (1, 1)) for stride in values)


def split(model: nn.Module, name: str) -> list[tuple[str, ...]]:
    """The children of a Sequential in groups, each of which begins with a module that makes the map smaller."""
    groups: list[tuple[str, ...]] = [()]
    for child, module in model.get_submodule(name).named_children():
        if strides(module) and groups[-1]:
            groups.append(())
        groups[-1] += (f"{name}.{child}",)
    return groups
