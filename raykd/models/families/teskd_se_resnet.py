"""SE-ResNets for images of 32 pixels as TESKD builds them (Li et al. 2021); the textbook's are in cifar_resnet.

Convolutions have biases, the residual branch ends in a ReLU before its channels are weighed, and the shortcut's
projection has a bias too. torch's own initialisation.
"""

from collections.abc import Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from raykd.models.staged.layers import average_pool, named, stage
from raykd.models.staged.parts import Parts

REDUCTION = 16  # of the channels in the gate's hidden layer


def unit(in_channels: int, channels: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    """Convolution with bias, BN, ReLU."""
    conv = nn.Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2)
    return [conv, nn.BatchNorm2d(channels), nn.ReLU()]


class SEBlock(nn.Module):
    """ReLU(gate(r) · r + shortcut(x)), r the residual branch: [B, D, h, w] → [B, D', h/s, w/s]."""

    def __init__(self, in_channels: int, channels: int, stride: int, bottleneck: bool):
        super().__init__()
        planes = channels // 4 if bottleneck else channels
        if bottleneck:
            layers = [*unit(in_channels, planes, 1), *unit(planes, planes, 3, stride), *unit(planes, channels, 1)]
        else:
            layers = [*unit(in_channels, planes, 3, stride), *unit(planes, planes, 3)]
        self.residual = nn.Sequential(*layers)
        changes = stride != 1 or in_channels != channels
        self.shortcut = nn.Sequential(*unit(in_channels, channels, 1, stride)[:2] if changes else ())
        hidden = channels // REDUCTION
        self.excitation = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))

    def forward(self, x: Tensor) -> Tensor:
        residual = self.residual(x)
        gate = self.excitation(residual.mean((2, 3))).sigmoid()
        return F.relu(residual * gate[:, :, None, None] + self.shortcut(x))


def se_resnet(num_classes: int, image_size: int, *, depths: Sequence[int], bottleneck: bool) -> Parts:
    """Four stages of 64, 128, 256, 512 planes behind a 3×3 stem."""
    modules: dict[str, nn.Module] = {"pre": nn.Sequential(*unit(3, 64, 3))}
    channels = 64
    for i, (depth, planes) in enumerate(zip(depths, (64, 128, 256, 512), strict=True)):
        out = planes * (4 if bottleneck else 1)
        modules[f"stage{i + 1}"] = stage(partial(SEBlock, bottleneck=bottleneck), channels, out, depth, 2 if i else 1)
        channels = out
    model = named(**modules, **average_pool(), linear=nn.Linear(channels, num_classes))
    stages = tuple((f"stage{i}",) for i in range(1, 5))
    return Parts(model, ("pre",), stages, ("pool", "flatten"), ("linear",))


def _entry(depth: int, depths: Sequence[int], bottleneck: bool) -> tuple[str, partial]:
    return f"TESKD's own SE-ResNet-{depth}", partial(se_resnet, depths=depths, bottleneck=bottleneck)


NETWORKS = {
    "teskd_seresnet18": _entry(18, (2, 2, 2, 2), False),
    "teskd_seresnet34": _entry(34, (3, 4, 6, 3), False),
    "teskd_seresnet50": _entry(50, (3, 4, 6, 3), True),
}
