"""Teachers weighted by how well their gradients agree (AEKD): 3 × ResNet-32x4 → ResNet-8x4 on CIFAR-10.

    raykd train cifar10/aekd_resnet8x4

Cost: 240 epochs with three frozen teachers, which are trained first if missing.
Published: none quoted.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.aekd import AEKD
from raykd.recipe import Teachers, Train
from raykd.recipes.cifar10.supervised_resnet8x4 import recipe as supervised
from raykd.recipes.cifar10.teacher_resnet32x4 import recipe as teacher

recipe = replace(
    supervised,
    method=AEKD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher, seeds=(0, 1, 2)),)),
)
