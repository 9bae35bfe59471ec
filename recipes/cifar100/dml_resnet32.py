"""Deep mutual learning (DML) with ResNet-32 on CIFAR-100.

    raykd train cifar100/dml_resnet32

Cost: the baseline's 300 epochs, with four branches (DML: two networks).
Published: error 24.9–26.3 %, over three re-implementations.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.dml import DML
from raykd.recipes.cifar100.supervised_resnet32 import recipe as supervised

recipe = replace(
    supervised,
    method=DML.Config(),
    published=(),
)
