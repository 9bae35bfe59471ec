"""The on-the-fly native ensemble (ONE) with VGG-16 on CIFAR-100.

    raykd train cifar100/one_vgg16

Cost: the baseline's 300 epochs, with four branches (DML: two networks).
Published: error 25.2–25.6 %, over three re-implementations.
Measured: not run here.
As the authors', the branches have dropout 0.5 in the classifier, the baseline has none.
"""

from dataclasses import replace

from raykd.methods.one import ONE
from raykd.models.config import Network
from raykd.recipes.cifar100.supervised_vgg16 import recipe as supervised

recipe = replace(
    supervised,
    method=ONE.Config(),
    student=Network(name="okddip_vgg16_dropout"),
    published=(),
)
