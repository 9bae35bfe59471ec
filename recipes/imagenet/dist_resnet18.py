"""DIST (Huang et al. 2022): torchvision's ResNet-34 → ResNet-18 on ImageNet-1k.

    raykd train imagenet/dist_resnet18

Cost: 100 epochs with one frozen teacher.
Published: top-1 72.07 % (DIST, Huang et al. 2022).
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.dist import DIST
from raykd.models.config import Network
from raykd.recipe import Pretrained, Published, Teachers
from raykd.recipes.imagenet.supervised_resnet18 import recipe as supervised

recipe = replace(
    supervised,
    method=DIST.Config(),
    teachers=Teachers(sources=(Pretrained(network=Network(name="torchvision:resnet34", weights="pretrained")),)),
    published=(Published(metric="top1", value=0.7207, source="DIST, Huang et al. 2022"),),
)
