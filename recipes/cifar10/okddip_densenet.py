"""OKDDip with DenseNet-BC-40-12 on CIFAR-10, whose branches share the last block as in the authors' code.

    raykd train cifar10/okddip_densenet

Cost: 300 epochs; the last block runs four times a step.
Published: none quoted.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.okddip import OKDDip
from raykd.models.config import Network
from raykd.recipes.cifar10.supervised_resnet32 import recipe as supervised

recipe = replace(supervised, method=OKDDip.Config(share_block=True), student=Network(name="densenet_bc_40_12"))
