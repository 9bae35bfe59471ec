"""Decoupled KD (Zhao et al. 2022): torchvision's ResNet-34 → ResNet-18 on ImageNet-1k.

    raykd train imagenet/dkd_resnet18

Cost: 100 epochs with one frozen teacher.
Published: top-1 71.70 % (DKD, Zhao et al. 2022).
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.dkd import DKD
from raykd.models.config import Network
from raykd.recipe import Pretrained, Published, Teachers
from raykd.recipes.imagenet.supervised_resnet18 import recipe as supervised

recipe = replace(
    supervised,
    method=DKD.Config(alpha=1.0, beta=0.5, temperature=1.0, warm_up_epochs=1),
    teachers=Teachers(sources=(Pretrained(network=Network(name="torchvision:resnet34", weights="pretrained")),)),
    published=(Published(metric="top1", value=0.717, source="DKD, Zhao et al. 2022"),),
)
