"""Wide residual networks for CIFAR: Zagoruyko & Komodakis 2016, pre-activation basic blocks. wrn_DEPTH_WIDTH."""

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from raykd.models.initial import normal_by_fan_out, zero_linear_bias
from raykd.models.staged import ModuleCall
from raykd.models.staged.layers import average_pool, conv, named, stage
from raykd.models.staged.parts import Parts


class PreactivationBlock(nn.Module):
    """BN-ReLU-conv twice; where the width changes, the shortcut starts after the first BN-ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(in_channels), conv(in_channels, out_channels, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(out_channels), conv(out_channels, out_channels, 3)
        self.convShortcut = None if in_channels == out_channels else conv(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        y = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return y + (x if self.convShortcut is None else self.convShortcut(active))


def norm_alone(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """The norm's output, its running statistics left as they are: the next block counts the batch."""
    running = (None, None) if norm.training else (norm.running_mean, norm.running_var)
    return F.batch_norm(x, *running, norm.weight, norm.bias, norm.training, eps=norm.eps)


def wide_resnet(num_classes: int, image_size: int, *, depth: int, width: int) -> Parts:
    """(depth − 4) / 6 blocks a stage; the last stage includes the final BN and ReLU, the others are raw sums.

    Before the activation these maps are normed by the BN of the block that follows.
    """
    modules: dict[str, nn.Module] = {"conv1": conv(3, 16, 3)}
    channels = 16
    for i, planes in enumerate((16 * width, 32 * width, 64 * width)):
        blocks = stage(PreactivationBlock, channels, planes, (depth - 4) // 6, 2 if i else 1)
        modules[f"block{i + 1}"], channels = named(layer=blocks), planes
    modules |= {"bn1": nn.BatchNorm2d(channels), "relu": nn.ReLU()}
    model = named(**modules, **average_pool(), fc=nn.Linear(channels, num_classes))
    normal_by_fan_out(model)
    zero_linear_bias(model)
    stages = (("block1",), ("block2",), ("block3", "bn1", "relu"))
    pre = {f"stage{i}": (ModuleCall(f"block{i + 1}.layer.0.bn1", norm_alone),) for i in (1, 2)}
    return Parts(model, ("conv1",), stages, ("pool", "flatten"), ("fc",), pre=pre)


NETWORKS = {
    f"wrn_{depth}_{width}": (f"CIFAR WRN-{depth}-{width}", partial(wide_resnet, depth=depth, width=width))
    for depth in (16, 40)
    for width in (1, 2)
}
