"""Collaborative learning (CL-ILR) with VGG-16 on CIFAR-100.

    raykd train cifar100/cl_ilr_vgg16

Cost: the baseline's 300 epochs, with four branches (DML: two networks).
Published: error 23.6–25.7 %, over three re-implementations.
Measured: not run here.
As the authors', the branches have dropout 0.5 in the classifier, the baseline has none.
"""

from dataclasses import replace

from raykd.methods.cl_ilr import CLILR
from raykd.models.config import Network
from raykd.recipes.cifar100.supervised_vgg16 import recipe as supervised

recipe = replace(
    supervised,
    method=CLILR.Config(),
    student=Network(name="okddip_vgg16_dropout"),
    published=(),
)
