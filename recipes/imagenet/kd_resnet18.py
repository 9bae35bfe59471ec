"""Classic KD (Hinton et al. 2015): torchvision's ResNet-34 → ResNet-18 on ImageNet-1k.

    raykd train imagenet/kd_resnet18

Cost: 100 epochs with one frozen teacher.
Published: top-1 71.03 % (mdistiller, whose settings these are).
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.kd import KD
from raykd.models.config import Network
from raykd.recipe import Pretrained, Published, Teachers
from raykd.recipes.imagenet.supervised_resnet18 import recipe as supervised

recipe = replace(
    supervised,
    method=KD.Config(gamma=0.5, alpha=0.5, temperature=1.0),
    teachers=Teachers(sources=(Pretrained(network=Network(name="torchvision:resnet34", weights="pretrained")),)),
    published=(Published(metric="top1", value=0.7103, source="mdistiller, whose settings these are"),),
)
