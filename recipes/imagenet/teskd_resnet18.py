"""TESKD (Li et al. 2021) with ResNet-18 on ImageNet-1k.

    raykd train imagenet/teskd_resnet18

Cost: 100 epochs of a backbone with three sub-networks.
Published: top-1 71.14 % against 69.71 % alone (TESKD, Li et al. 2021).
Measured: not run here.
The schedule is that of the baseline in this folder; the authors' schedule may differ.
"""

from dataclasses import replace

from raykd.methods.teskd import TESKD
from raykd.recipe import Published
from raykd.recipes.imagenet.supervised_resnet18 import recipe as supervised

recipe = replace(
    supervised,
    method=TESKD.Config(),
    published=(Published(metric="top1", value=0.7114, source="TESKD, Li et al. 2021"),),
)
