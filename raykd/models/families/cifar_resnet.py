"""ResNets with a 3×3 stem for images of 32 pixels (He et al., CVPR 2016), and their variants in three code bases.

Three stages: RepDistiller's resnet8 … resnet110 and the four times wider resnetAx4; OKDDip's ResNet-110 and WRN-20-8 of
bottlenecks (its ResNet-32 is RepDistiller's).
Four stages: ImageNet's widths behind a 3×3 stem without max pooling (TESKD), also with groups or squeeze-excitation.
TESKD's own ResNeXt-18 and -34 widen their basic blocks and have no groups; its SE-ResNets are in teskd_se_resnet.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from raykd.models.initial import normal_by_fan_out
from raykd.models.staged.layers import average_pool, blocks_before_activation, conv, named, stage
from raykd.models.staged.parts import Parts


class Block(NamedTuple):
    """The kind of residual block of a network."""

    bottleneck: bool = False
    base_width: int = 64  # inner channels are planes · base_width / 64 · groups
    groups: int = 1
    squeeze: bool = False

    @property
    def expansion(self) -> int:
        return 4 if self.bottleneck else 1


BASIC, BOTTLENECK = Block(), Block(bottleneck=True)
WIDENED, CARDINALITY_32 = Block(base_width=128), Block(bottleneck=True, base_width=4, groups=32)


class SqueezeExcitation(nn.Module):
    """Squeeze-and-excitation (Hu et al., CVPR 2018) with reduction 16: [B, D, h, w] → [B, D, h, w]."""

    def __init__(self, channels: int):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // 16, 1)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1))))
        return x * gate.sigmoid()


class Residual(nn.Module):
    """Two 3×3 convolutions, or 1×1, 3×3, 1×1 (the 3×3 strides), around a shortcut: [B, D, h, w] → [B, D', h/s, w/s]."""

    def __init__(self, block: Block, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        planes = out_channels // block.expansion
        inner = int(planes * block.base_width / 64) * block.groups
        if block.bottleneck:
            self.conv1, self.bn1 = conv(in_channels, inner, 1), nn.BatchNorm2d(inner)
            self.conv2, self.bn2 = conv(inner, inner, 3, stride, block.groups), nn.BatchNorm2d(inner)
            self.conv3, self.bn3 = conv(inner, out_channels, 1), nn.BatchNorm2d(out_channels)
        else:
            self.conv1, self.bn1 = conv(in_channels, inner, 3, stride), nn.BatchNorm2d(inner)
            self.conv2, self.bn2 = conv(inner, planes, 3), nn.BatchNorm2d(planes)
        self.bottleneck = block.bottleneck
        self.squeeze = SqueezeExcitation(out_channels) if block.squeeze else nn.Identity()
        changes = stride != 1 or in_channels != out_channels
        shortcut = (conv(in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels))
        self.downsample = nn.Sequential(*shortcut) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.before_activation(x))

    def before_activation(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.bottleneck:
            y = self.bn3(self.conv3(F.relu(y)))
        return self.squeeze(y) + self.downsample(x)


def resnet(num_classes: int, image_size: int, *, depths: Sequence[int], widths: Sequence[int], block: Block) -> Parts:
    """A ResNet of len(depths) stages; widths gives the stem's channels and every stage's planes."""
    modules: dict[str, nn.Module] = {
        "conv1": conv(3, widths[0], 3),
        "bn1": nn.BatchNorm2d(widths[0]),
        "relu": nn.ReLU(),
    }
    stem, channels, stages = tuple(modules), widths[0], []
    for i, (depth, planes) in enumerate(zip(depths, widths[1:], strict=True)):
        out = planes * block.expansion
        modules[f"layer{i + 1}"] = stage(partial(Residual, block), channels, out, depth, 2 if i else 1)
        channels = out
        stages.append(blocks_before_activation(f"layer{i + 1}", depth, Residual.before_activation))
    model = named(**modules, **average_pool(), fc=nn.Linear(channels, num_classes))
    return Parts(model, stem, tuple(stages), ("pool", "flatten"), ("fc",))


def small_resnet(num_classes: int, image_size: int, *, depth: int, widths: Sequence[int], block: Block) -> Parts:
    """Three equal stages, `depth` weighted layers in all: 6n + 2 of basic blocks, 9n + 2 of bottlenecks."""
    blocks = (depth - 2) // (9 if block.bottleneck else 6)
    parts = resnet(num_classes, image_size, depths=(blocks,) * 3, widths=widths, block=block)
    normal_by_fan_out(parts.model)
    return parts


def resnext(num_classes: int, image_size: int, *, depths: Sequence[int], block: Block) -> Parts:
    """TESKD's ResNeXt: as its ResNets, with convolutions from N(0, 2 / fan_out), groups not counted."""
    parts = _wide_stem(depths, block)(num_classes, image_size)
    normal_by_fan_out(parts.model, by_groups=False)
    return parts


def _small(depth: int, widths: Sequence[int] = (16, 16, 32, 64), block: Block = BASIC) -> partial:
    return partial(small_resnet, depth=depth, widths=widths, block=block)


def _wide_stem(depths: Sequence[int], block: Block) -> partial:
    return partial(resnet, depths=depths, widths=(64, 64, 128, 256, 512), block=block)


TIMES_FOUR = (32, 64, 128, 256)

NETWORKS = {
    **{f"resnet{d}": (f"CIFAR ResNet-{d}, basic blocks, 16-32-64", _small(d)) for d in (8, 14, 20, 32, 44, 56, 110)},
    **{f"resnet{d}x4": (f"CIFAR ResNet-{d}, four times wider, 64-128-256", _small(d, TIMES_FOUR)) for d in (8, 20, 32)},
    "resnet8x4_double": ("CA-MKD's ResNet-8, eight times wider, 128-256-512", _small(8, (64, 128, 256, 512))),
    "okddip_resnet110": ("OKDDip's CIFAR ResNet-110 of bottlenecks, 12 a stage", _small(110, block=BOTTLENECK)),
    "okddip_wide_resnet20_8": (
        "OKDDip's WRN-20-8 of bottlenecks, 2 a stage",
        _small(20, block=Block(bottleneck=True, base_width=64 * 8)),
    ),
    "cifar_resnet18": ("TESKD's ResNet-18 with a 3×3 stem", _wide_stem((2, 2, 2, 2), BASIC)),
    "cifar_resnet34": ("TESKD's ResNet-34 with a 3×3 stem", _wide_stem((3, 4, 6, 3), BASIC)),
    "cifar_resnet50": ("TESKD's ResNet-50 with a 3×3 stem", _wide_stem((3, 4, 6, 3), BOTTLENECK)),
    "cifar_resnext50_32x4d": (
        "ResNeXt-50 32×4d with a 3×3 stem",
        _wide_stem((3, 4, 6, 3), CARDINALITY_32),
    ),
    "teskd_resnext18": ("TESKD's own ResNeXt-18", partial(resnext, depths=(2, 2, 2, 2), block=WIDENED)),
    "teskd_resnext34": ("TESKD's own ResNeXt-34", partial(resnext, depths=(3, 4, 6, 3), block=WIDENED)),
    "teskd_resnext50": ("TESKD's own ResNeXt-50", partial(resnext, depths=(3, 4, 6, 3), block=CARDINALITY_32)),
    "cifar_seresnet18": ("SE-ResNet-18 with a 3×3 stem", _wide_stem((2, 2, 2, 2), Block(squeeze=True))),
    "cifar_seresnet34": ("SE-ResNet-34 with a 3×3 stem", _wide_stem((3, 4, 6, 3), Block(squeeze=True))),
    "cifar_seresnet50": (
        "SE-ResNet-50 with a 3×3 stem",
        _wide_stem((3, 4, 6, 3), Block(bottleneck=True, squeeze=True)),
    ),
}
