"""Students help the teacher (TESKD, Li et al. 2021) with ResNet-18 on CIFAR-10, in mixed precision as published.

    raykd train cifar10/teskd_resnet18

Cost: 200 epochs of a backbone with three sub-networks.
Published: none quoted.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.teskd import TESKD
from raykd.recipe import Precision
from raykd.recipes.cifar10.supervised_resnet18 import recipe as supervised

recipe = replace(supervised, method=TESKD.Config(), precision=Precision(autocast="float16"))
