"""Collaborative learning (CL-ILR) with ResNet-32 on CIFAR-100.

    raykd train cifar100/cl_ilr_resnet32

Cost: the baseline's 300 epochs, with four branches (DML: two networks).
Published: error 25.4–27.7 %, over three re-implementations.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.cl_ilr import CLILR
from raykd.recipes.cifar100.supervised_resnet32 import recipe as supervised

recipe = replace(
    supervised,
    method=CLILR.Config(),
    published=(),
)
