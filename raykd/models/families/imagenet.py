"""CA-MKD's and OKDDip's own networks for ImageNet, which turn out to be torchvision's under other names.

CA-MKD's wide_resnet18_2, 34_2 and 34_4 are plain ResNet-18 and -34: the code that should widen them never runs. Its
VGGs are torchvision's with BN; its hints lie inside their blocks, here at the end of each stage as everywhere else.
"""

from collections.abc import Callable
from functools import partial

from torch import nn

from raykd.models.parts import Parts

Builder = Callable[[int], nn.Module]  # number of classes → a network of torchvision


def staged(num_classes: int, image_size: int, *, build: Builder, name: str) -> Parts:
    from raykd.models.families import torchvision  # which takes a second to import

    return torchvision.stage(build(num_classes), name)


def resnet(num_classes: int, *, name: str) -> nn.Module:
    from torchvision import models

    return models.get_model(name, weights=None, num_classes=num_classes)


def wide_resnet14_10(num_classes: int) -> nn.Module:
    from torchvision.models.resnet import Bottleneck, ResNet

    return ResNet(Bottleneck, [1, 1, 1, 1], num_classes=num_classes, width_per_group=64 * 10)


def vgg8(num_classes: int) -> nn.Module:
    from torchvision.models.vgg import VGG, make_layers

    return VGG(make_layers([64, "M", 128, "M", 256, "M", 512, "M", 512, "M"], batch_norm=True), num_classes)


def _entry(name: str, line: str, build: Builder) -> tuple[str, partial]:
    return line, partial(staged, build=build, name=name)


NETWORKS = {
    "vgg8_imagenet": _entry("vgg8_imagenet", "CA-MKD's VGG-8 for ImageNet, three linear layers", vgg8),
    "imagenet_wide_resnet14_10": _entry(
        "imagenet_wide_resnet14_10", "OKDDip's WRN-14-10 for ImageNet, bottlenecks, one a stage", wide_resnet14_10
    ),
    **{
        own: _entry(own, f"CA-MKD's {own}: torchvision's {theirs}", partial(resnet, name=theirs))
        for own, theirs in {
            "vgg11_imagenet": "vgg11_bn",
            "vgg13_imagenet": "vgg13_bn",
            "wide_resnet18_2": "resnet18",
            "wide_resnet34_2": "resnet34",
            "wide_resnet34_4": "resnet34",
        }.items()
    },
}
