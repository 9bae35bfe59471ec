"""OKDDip with four whole ResNet-32s (network-based) on CIFAR-100.

    raykd train cifar100/okddip_resnet32_networks

Cost: 300 epochs of four networks.
Published: none quoted.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.okddip import OKDDip
from raykd.recipes.cifar100.supervised_resnet32 import recipe as supervised

recipe = replace(supervised, method=OKDDip.Config(shared_trunk=False), published=())
