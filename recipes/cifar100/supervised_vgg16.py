"""VGG-16 alone on CIFAR-100, on OKDDip's schedule.

    raykd train cifar100/supervised_vgg16

Cost: 300 epochs; 117,000 steps of batch 128.
Published: error 25.2 % (OKDDip and re-implementations).
Measured: not run here.
"""

from dataclasses import replace

from raykd.models.config import Network
from raykd.recipe import Published
from raykd.recipes.cifar100.supervised_resnet32 import recipe as supervised

recipe = replace(
    supervised,
    student=Network(name="okddip_vgg16"),
    published=(Published(metric="top1", value=0.748, source="OKDDip, Chen et al. 2020, and re-implementations"),),
)
