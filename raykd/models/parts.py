"""A plain network with the dotted names of its sections: what every builder returns and `Staged` takes."""

from collections import OrderedDict
from typing import NamedTuple

from torch import nn

from raykd.models.staged import Part


class Parts(NamedTuple):
    """Running stem, stages, pool, and head one after another must equal `model(images)`."""

    model: nn.Module
    stem: tuple[Part, ...]
    stages: tuple[tuple[Part, ...], ...]
    pool: tuple[Part, ...]
    head: tuple[Part, ...]


def named(**modules: nn.Module) -> nn.Sequential:
    """nn.Sequential of modules under their own names."""
    return nn.Sequential(OrderedDict(modules))


def conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Bias-free convolution with "same" padding for odd kernels."""
    return nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)


def average_pool() -> dict[str, nn.Module]:
    """Global average pooling, [B, D, h, w] → [B, D]."""
    return {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
