"""Online distillation with diverse peers (OKDDip) with ResNet-32 on CIFAR-100.

    raykd train cifar100/okddip_resnet32

Other methods and networks of the comparison are cells of the study studies/okddip.

Cost: the baseline's 300 epochs, with four branches (DML: two networks).
Published: error 25.3–26.8 %, over three re-implementations.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.okddip import OKDDip
from raykd.recipes.cifar100.supervised_resnet32 import recipe as supervised

recipe = replace(
    supervised,
    method=OKDDip.Config(),
    published=(),
)
