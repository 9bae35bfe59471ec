"""CA-MKD's and OKDDip's networks for ImageNet, which are torchvision's under other names.

CA-MKD's wide_resnet18_2, 34_2 and 34_4 are plain ResNet-18 and -34, as the code that should widen them never runs. Its
VGGs are torchvision's with BN; its hints are inside their blocks, here at the end of each stage.
"""

from collections.abc import Callable
from functools import partial

from torch import nn

from raykd.models.staged.parts import Parts

Builder = Callable[..., nn.Module]  # number of classes, options → a network of torchvision


def vgg_bn(num_classes: int, image_size: int, *, build: Builder, dropout: float = 0.5) -> Parts:
    """dropout: between the linear layers."""
    return staged(num_classes, image_size, build=partial(build, dropout=dropout))


def staged(num_classes: int, image_size: int, *, build: Builder) -> Parts:
    from raykd.models.libraries import torchvision  # takes a second to import

    model = build(num_classes)
    return torchvision.FAMILIES[type(model)](model)


def torchvision_model(num_classes: int, *, name: str, **options: float) -> nn.Module:
    from torchvision import models

    return models.get_model(name, weights=None, num_classes=num_classes, **options)


def wide_resnet14_10(num_classes: int) -> nn.Module:
    from torchvision.models.resnet import Bottleneck, ResNet

    return ResNet(Bottleneck, [1, 1, 1, 1], num_classes=num_classes, width_per_group=64 * 10)


def vgg8(num_classes: int, dropout: float) -> nn.Module:
    from torchvision.models.vgg import VGG, make_layers

    layers = make_layers([64, "M", 128, "M", 256, "M", 512, "M", 512, "M"], batch_norm=True)
    return VGG(layers, num_classes, dropout=dropout)


def _vgg(name: str, build: Builder) -> dict[str, tuple[str, partial]]:
    return {name: (f"CA-MKD's {name} with BN; option dropout (0.5)", partial(vgg_bn, build=build))}


def _plain(own: str, theirs: str) -> dict[str, tuple[str, partial]]:
    build = partial(torchvision_model, name=theirs)
    return {own: (f"CA-MKD's {own}: torchvision's {theirs}", partial(staged, build=build))}


NETWORKS = {
    **_vgg("vgg8_imagenet", vgg8),
    **_vgg("vgg11_imagenet", partial(torchvision_model, name="vgg11_bn")),
    **_vgg("vgg13_imagenet", partial(torchvision_model, name="vgg13_bn")),
    **_plain("wide_resnet18_2", "resnet18"),
    **_plain("wide_resnet34_2", "resnet34"),
    **_plain("wide_resnet34_4", "resnet34"),
    "imagenet_wide_resnet14_10": (
        "OKDDip's WRN-14-10 for ImageNet, bottlenecks, one a stage",
        partial(staged, build=wide_resnet14_10),
    ),
}
