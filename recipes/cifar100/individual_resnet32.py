"""Branches on one trunk without distillation with ResNet-32 on CIFAR-100.

    raykd train cifar100/individual_resnet32

Cost: the baseline's 300 epochs, with four branches (DML: two networks).
Published: none for this setting.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.individual import Individual
from raykd.recipes.cifar100.supervised_resnet32 import recipe as supervised

recipe = replace(
    supervised,
    method=Individual.Config(),
    published=(),
)
