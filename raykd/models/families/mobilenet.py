"""MobileNetV2 of half width for small images: Sandler et al. 2018, as RepDistiller shapes it (expansion 6)."""

from functools import partial

from torch import Tensor, nn

from raykd.models.initial import normal_by_fan_out, small_linear
from raykd.models.staged.layers import average_pool, conv, named, stage
from raykd.models.staged.parts import Parts

# Output channels at full width, blocks, stride of the first block; STAGES groups them by the size of their map.
SETTING = ((16, 1, 1), (24, 2, 1), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
STAGES = ((0, 1), (2,), (3, 4), (5, 6))


def convolution(in_channels: int, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    return [conv(in_channels, channels, kernel, stride, groups), nn.BatchNorm2d(channels)]


class InvertedResidual(nn.Module):
    """1×1 expansion, 3×3 depth-wise, linear 1×1 projection; a shortcut where the shape stays."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int):
        super().__init__()
        inner = in_channels * expansion
        widen = [*convolution(in_channels, inner, 1), nn.ReLU()]
        spatial = [*convolution(inner, inner, 3, stride, groups=inner), nn.ReLU()]
        self.conv = nn.Sequential(*widen, *spatial, *convolution(inner, out_channels, 1))
        self.shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.shortcut else self.conv(x)


def mobilenetv2(num_classes: int, image_size: int, *, width: float) -> Parts:
    """Four stages of linear bottlenecks; the 1×1 convolution to 1280 channels belongs to the pooling section."""
    channels = int(32 * width)
    stem = nn.Sequential(*convolution(3, channels, 3, 2), nn.ReLU())
    blocks = []
    for i, (full, depth, stride) in enumerate(SETTING):
        out = int(full * width)
        blocks.append(stage(partial(InvertedResidual, expansion=6 if i else 1), channels, out, depth, stride))
        channels = out
    last = nn.Sequential(*convolution(channels, 1280, 1), nn.ReLU())
    classifier = nn.Sequential(nn.Linear(1280, num_classes))
    model = named(conv1=stem, blocks=nn.Sequential(*blocks), conv2=last, **average_pool(), classifier=classifier)
    normal_by_fan_out(model, by_groups=False)
    small_linear(model)
    stages = tuple(tuple(f"blocks.{i}" for i in group) for group in STAGES)
    linear = {f"stage{i + 1}": () for i in range(len(stages))}  # no activation follows: the map itself
    return Parts(model, ("conv1",), stages, ("conv2", "pool", "flatten"), ("classifier",), pre=linear)


NETWORKS = {"mobilenetv2_half": ("CIFAR MobileNetV2, half width", partial(mobilenetv2, width=0.5))}
