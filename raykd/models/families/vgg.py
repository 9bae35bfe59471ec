"""VGG with BatchNorm for small images: Simonyan & Zisserman 2015, in RepDistiller's shape and in OKDDip's."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import nn

from raykd.models.initial import normal_by_fan_out, small_linear
from raykd.models.staged.layers import average_pool, named
from raykd.models.staged.parts import Parts

WIDTHS = (64, 128, 256, 512, 512)


def block(in_channels: int, channels: int, depth: int) -> nn.Sequential:
    """`depth` times 3×3 convolution with bias, BN, and ReLU; the last ReLU is left to the caller."""
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [
            nn.Conv2d(in_channels if i == 0 else channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers[:-1])


def vgg(num_classes: int, image_size: int, *, depths: Sequence[int], pools: int) -> Parts:
    """Five blocks, max pooling between them, one linear layer behind global average pooling.

    The stem is the first block, stage k is pooling and block k + 1. RepDistiller leaves the pooling before the last
    block out at 32 pixels (the last two maps are equally large) and keeps it at 64: so here below 64 pixels, unless
    pools=4 asks for all four.
    """
    modules: dict[str, nn.Module] = {}
    channels = 3
    for i, (width, depth) in enumerate(zip(WIDTHS, depths, strict=True)):
        if i > 0:
            pools_here = i < 4 or image_size >= 64 or pools == 4
            modules[f"pool{i - 1}"] = nn.MaxPool2d(2) if pools_here else nn.Identity()
        modules |= {f"block{i}": block(channels, width, depth), f"relu{i}": nn.ReLU()}
        channels = width
    model = named(**modules, **average_pool(), classifier=nn.Linear(channels, num_classes))
    normal_by_fan_out(model)
    small_linear(model)
    stages = tuple((f"pool{i - 1}", f"block{i}", f"relu{i}") for i in range(1, 5))
    return Parts(model, ("block0", "relu0"), stages, ("pool", "flatten"), ("classifier",))


def linear_vgg(num_classes: int, image_size: int, *, depths: Sequence[int], ends: bool, dropout: float = 0.0) -> Parts:
    """Two convolutions and four blocks of `depths`, a pooling behind each of the five, three linear layers of 512.

    ends: a stage ends with its pooling, as TESKD cuts; else a stage begins with the one before it, as OKDDip does.
    """
    modules: dict[str, nn.Module] = {"conv1": nn.Conv2d(3, 64, 3, padding=1), "bn1": nn.BatchNorm2d(64)}
    modules |= {"relu1": nn.ReLU(), "conv2": nn.Conv2d(64, 64, 3, padding=1), "bn2": nn.BatchNorm2d(64)}
    modules["relu2"] = nn.ReLU()
    stem = tuple(modules)
    for i, depth in enumerate(depths):
        layer = block(WIDTHS[i], WIDTHS[i + 1], depth).append(nn.ReLU())
        modules |= {f"pool{i}": nn.MaxPool2d(2), f"layer{i + 1}": layer}
    stages = tuple((f"pool{i}", f"layer{i + 1}") for i in range(4))
    if ends:
        modules["pool4"] = nn.MaxPool2d(2)
        stem, stages = (*stem, "pool0"), tuple((f"layer{i}", f"pool{i}") for i in range(1, 5))
    modules |= {"pool": nn.AdaptiveMaxPool2d(1) if not ends else nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    hidden = [nn.Linear(512, 512), nn.ReLU(), nn.Dropout(dropout), nn.Linear(512, 512), nn.ReLU(), nn.Dropout(dropout)]
    model = named(**modules, classifier=nn.Sequential(*hidden, nn.Linear(512, num_classes)))
    normal_by_fan_out(model)
    small_linear(model)
    return Parts(model, stem, stages, ("pool", "flatten"), ("classifier",))


def _three_layers(depth: int, ends: bool = False, **fixed: Any) -> "partial[Parts]":
    return partial(linear_vgg, depths=DEPTHS[depth][1:], ends=ends, **fixed)


DEPTHS = {8: (1, 1, 1, 1, 1), 11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}

NETWORKS = {
    **{
        f"vgg{n}": (f"CIFAR VGG-{n} with BN, one linear layer", partial(vgg, depths=d, pools=0))
        for n, d in DEPTHS.items()
    },
    **{
        f"cifar_vgg{n}": (f"VGG-{n} with BN whose four stages halve the map each", partial(vgg, depths=d, pools=4))
        for n, d in DEPTHS.items()
        if n != 8
    },
    **{
        f"okddip_vgg{n}": (f"OKDDip's VGG-{n}, three linear layers; option dropout (0)", _three_layers(n))
        for n in (16, 19)
    },
    **{
        f"okddip_vgg{n}_dropout": (
            f"OKDDip's VGG-{n} with dropout 0.5, as in its branches",
            _three_layers(n, dropout=0.5),
        )
        for n in (16, 19)
    },
    **{
        f"teskd_vgg{n}": (
            f"TESKD's own VGG-{n}, three linear layers, a pooling ends each stage",
            _three_layers(n, ends=True),
        )
        for n in (16, 19)
    },
}
