"""OKDDip (Chen et al. 2020) with ResNet-34 on ImageNet-1k, split before the last stage.

    raykd train imagenet/okddip_resnet34

Cost: 100 epochs with four branches.
Published: none quoted.
Measured: not run here.
The schedule is that of the baseline in this folder; the authors' schedule may differ.
"""

from dataclasses import replace

from raykd.methods.okddip import OKDDip
from raykd.models.config import Network
from raykd.recipes.imagenet.supervised_resnet18 import recipe as supervised

recipe = replace(
    supervised,
    method=OKDDip.Config(),
    student=Network(name="torchvision:resnet34"),
    published=(),
)
