"""ShuffleNets for images of 32 pixels, with a 1×1 stem: V1 (Zhang et al. 2018, g=3), V2 (Ma et al. 2018, 0.5×, 1×)."""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raykd.models.staged.layers import average_pool, blocks_before_activation, conv, named
from raykd.models.staged.parts import Parts


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Interleave the channels of `groups` equal groups, [B, D, h, w] → [B, D, h, w]."""
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


class GroupedBlock(nn.Module):
    """V1: grouped 1×1, shuffle, depth-wise 3×3, grouped 1×1. Stride 2 concatenates with the pooled input, else adds.

    The first 1×1 of the whole network is not grouped (its input has too few channels).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, groups: int, first: bool):
        super().__init__()
        inner, self.groups = out_channels // 4, 1 if first else groups
        self.conv1, self.bn1 = conv(in_channels, inner, 1, groups=self.groups), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = conv(inner, inner, 3, stride, groups=inner), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = conv(inner, out_channels, 1, groups=groups), nn.BatchNorm2d(out_channels)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.before_activation(x))

    def before_activation(self, x: Tensor) -> Tensor:
        y = shuffle(F.relu(self.bn1(self.conv1(x))), self.groups)
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        if self.stride == 1:
            return y + x
        return torch.cat([y, F.avg_pool2d(x, 3, self.stride, padding=1)], 1)


class SplitBlock(nn.Module):
    """V2, stride 1: half of the channels pass, the other half go through 1×1, depth-wise 3×3, 1×1; then shuffle."""

    def __init__(self, channels: int):
        super().__init__()
        half = channels // 2
        self.conv1, self.bn1 = conv(half, half, 1), nn.BatchNorm2d(half)
        self.conv2, self.bn2 = conv(half, half, 3, groups=half), nn.BatchNorm2d(half)
        self.conv3, self.bn3 = conv(half, half, 1), nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        identity, y = x.chunk(2, dim=1)
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(y)))))
        y = F.relu(self.bn3(self.conv3(y)))
        return shuffle(torch.cat([identity, y], 1), 2)


class DownBlock(nn.Module):
    """V2, stride 2: both halves see all channels; left depth-wise and 1×1, right 1×1, depth-wise, 1×1; then shuffle."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        half = out_channels // 2
        self.conv1, self.bn1 = conv(in_channels, in_channels, 3, 2, groups=in_channels), nn.BatchNorm2d(in_channels)
        self.conv2, self.bn2 = conv(in_channels, half, 1), nn.BatchNorm2d(half)
        self.conv3, self.bn3 = conv(in_channels, half, 1), nn.BatchNorm2d(half)
        self.conv4, self.bn4 = conv(half, half, 3, 2, groups=half), nn.BatchNorm2d(half)
        self.conv5, self.bn5 = conv(half, half, 1), nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        left = F.relu(self.bn2(self.conv2(self.bn1(self.conv1(x)))))
        right = self.bn4(self.conv4(F.relu(self.bn3(self.conv3(x)))))
        right = F.relu(self.bn5(self.conv5(right)))
        return shuffle(torch.cat([left, right], 1), 2)


def stem() -> dict[str, nn.Module]:
    return {"conv1": conv(3, 24, 1), "bn1": nn.BatchNorm2d(24), "relu1": nn.ReLU()}


def shufflenetv1(num_classes: int, image_size: int) -> Parts:
    """Three stages of 4, 8, and 4 blocks, 240-480-960 channels."""
    modules, channels, stages = stem(), 24, []
    for i, (out, depth) in enumerate(((240, 4), (480, 8), (960, 4))):
        blocks = [GroupedBlock(channels, out - channels, 2, groups=3, first=i == 0)]
        blocks += [GroupedBlock(out, out, 1, groups=3, first=False) for _ in range(depth - 1)]
        modules[f"layer{i + 1}"], channels = nn.Sequential(*blocks), out
        stages.append(blocks_before_activation(f"layer{i + 1}", depth, GroupedBlock.before_activation))
    model = named(**modules, **average_pool(), linear=nn.Linear(channels, num_classes))
    return Parts(model, ("conv1", "bn1", "relu1"), tuple(stages), ("pool", "flatten"), ("linear",))


def shufflenetv2(num_classes: int, image_size: int, *, widths: Sequence[int]) -> Parts:
    """Three stages of 4, 8, and 4 blocks; the last includes the 1×1 convolution to 1024 channels."""
    modules, channels = stem(), 24
    for i, (out, depth) in enumerate(zip(widths, (4, 8, 4), strict=True)):
        blocks = [DownBlock(channels, out), *(SplitBlock(out) for _ in range(depth - 1))]
        modules[f"layer{i + 1}"], channels = nn.Sequential(*blocks), out
    modules |= {"conv2": conv(channels, 1024, 1), "bn2": nn.BatchNorm2d(1024), "relu2": nn.ReLU()}
    model = named(**modules, **average_pool(), linear=nn.Linear(1024, num_classes))
    stages = (("layer1",), ("layer2",), ("layer3", "conv2", "bn2", "relu2"))
    return Parts(model, ("conv1", "bn1", "relu1"), stages, ("pool", "flatten"), ("linear",))


NETWORKS = {
    "shufflenetv1": ("CIFAR ShuffleNetV1, 3 groups", shufflenetv1),
    "shufflenetv2": ("CIFAR ShuffleNetV2, width 1", partial(shufflenetv2, widths=(116, 232, 464))),
    "shufflenetv2_0_5": ("CIFAR ShuffleNetV2, width 0.5", partial(shufflenetv2, widths=(48, 96, 192))),
}
