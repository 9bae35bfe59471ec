"""Converts feature maps of two networks to equal width and size."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


def conv_bn(width: int, out: int, kernel: int = 1) -> list[nn.Module]:
    """A convolution without bias and BatchNorm: maps [B, width, h, w] → [B, out, h, w]."""
    return [nn.Conv2d(width, out, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(out)]


def pool_to_smaller(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps [B, D, h, w], the larger one (by height) average-pooled to the size of the other."""
    if a.shape[2] > b.shape[2]:
        return pool_like(a, b), b
    return (a, pool_like(b, a)) if a.shape[2] < b.shape[2] else (a, b)


def pool_like(x: Tensor, like: Tensor) -> Tensor:
    """A map [B, D, H, W] average-pooled to the height and width of another: [B, D, h, w]."""
    return F.adaptive_avg_pool2d(x, (like.shape[2], like.shape[3]))


def resize(feature_map: Tensor, size: Sequence[int]) -> Tensor:
    """[B, D, h, w] → [B, D, *size]: average pooling to a smaller height, bilinear interpolation to a larger one."""
    if feature_map.shape[2] >= size[0]:
        height, width = size
        return F.adaptive_avg_pool2d(feature_map, (height, width))
    return F.interpolate(feature_map, size=tuple(size), mode="bilinear", align_corners=False)
