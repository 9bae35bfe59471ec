"""The networks that raykd defines itself, by name."""

from raykd.models import cifar_resnet, vgg, wide_resnet
from raykd.models.parts import Parts

NETWORKS = cifar_resnet.NETWORKS | wide_resnet.NETWORKS | vgg.NETWORKS


def build(name: str, num_classes: int, image_size: int) -> Parts:
    """A fresh network of NETWORKS, initialised as its authors do."""
    _, builder = NETWORKS[name]
    return builder(num_classes, image_size)
