"""The on-the-fly native ensemble (ONE) with ResNet-32 on CIFAR-100.

    raykd train cifar100/one_resnet32

Cost: the baseline's 300 epochs, with four branches (DML: two networks).
Published: error 25.7–26.2 %, over three re-implementations.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.one import ONE
from raykd.recipes.cifar100.supervised_resnet32 import recipe as supervised

recipe = replace(
    supervised,
    method=ONE.Config(),
    published=(),
)
