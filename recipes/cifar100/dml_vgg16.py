"""Deep mutual learning (DML) with VGG-16 on CIFAR-100.

    raykd train cifar100/dml_vgg16

Cost: the baseline's 300 epochs, with four branches (DML: two networks).
Published: error 24.1–24.5 %, over three re-implementations.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.dml import DML
from raykd.recipes.cifar100.supervised_vgg16 import recipe as supervised

recipe = replace(
    supervised,
    method=DML.Config(),
    published=(),
)
