"""The networks that raykd defines itself, by name."""

from raykd.models.families import (
    cifar_resnet,
    densenet,
    imagenet,
    mobilenet,
    shufflenet,
    teskd_se_resnet,
    vgg,
    wide_resnet,
)
from raykd.models.parts import Parts

NETWORKS = {
    name: entry
    for family in (
        cifar_resnet,
        wide_resnet,
        vgg,
        mobilenet,
        shufflenet,
        densenet,
        teskd_se_resnet,
        imagenet,
    )
    for name, entry in family.NETWORKS.items()
}

# How RepDistiller's scripts, and OKDDip's, spell some of them.
ALIASES = {
    "MobileNetV2": "mobilenetv2_half",
    "ShuffleV1": "shufflenetv1",
    "ShuffleV2": "shufflenetv2",
    "ShuffleV2_0_5": "shufflenetv2_0_5",
    "densenetd40k12": "densenet_bc_40_12",
    "densenetd100k12": "densenet_bc_100_12",
    "densenetd100k40": "densenet_bc_100_40",
    "densenetd190k12": "densenet_bc_190_12",
    "wide_resnet20_8": "okddip_wide_resnet20_8",
}


def build(name: str, num_classes: int, image_size: int) -> Parts:
    """A fresh network of NETWORKS or ALIASES, initialised as its authors do."""
    _, builder = NETWORKS[ALIASES.get(name, name)]
    return builder(num_classes, image_size)
