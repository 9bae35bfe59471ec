"""Online distillation with diverse peers (OKDDip) with ResNet-32 on CIFAR-10.

    raykd train cifar10/okddip_resnet32

Cost: the baseline's 300 epochs, with four branches.
Published: none quoted.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.okddip import OKDDip
from raykd.recipes.cifar10.supervised_resnet32 import recipe as supervised

recipe = replace(supervised, method=OKDDip.Config())
