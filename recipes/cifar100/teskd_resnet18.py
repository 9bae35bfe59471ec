"""Students help the teacher (TESKD, Li et al. 2021) with ResNet-18 on CIFAR-100, in mixed precision as published.

    raykd train cifar100/teskd_resnet18

Cost: 200 epochs of a backbone with three sub-networks (36.9 M parameters while training, 11.2 M deployed).
Published: top-1 79.15 % (TESKD, Li et al. 2021).
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.teskd import TESKD
from raykd.recipe import Precision, Published
from raykd.recipes.cifar100.supervised_resnet18 import recipe as supervised

recipe = replace(
    supervised,
    method=TESKD.Config(),
    precision=Precision(autocast="float16"),
    published=(Published(metric="top1", value=0.7915, source="TESKD, Li et al. 2021"),),
)
