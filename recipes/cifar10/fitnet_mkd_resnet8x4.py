"""Three teachers with hints (FitNet-MKD): 3 × ResNet-32x4 → ResNet-8x4 on CIFAR-10.

    raykd train cifar10/fitnet_mkd_resnet8x4

Cost: 240 epochs with three frozen teachers, which are trained first if missing.
Published: none quoted.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.fitnet_mkd import FitNetMKD
from raykd.recipe import Teachers, Train
from raykd.recipes.cifar10.supervised_resnet8x4 import recipe as supervised
from raykd.recipes.cifar10.teacher_resnet32x4 import recipe as teacher

recipe = replace(
    supervised,
    method=FitNetMKD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher, seeds=(0, 1, 2)),)),
)
