"""Three teachers with hints (FitNet-MKD): 3 × ResNet-32x4 → ResNet-8x4 on CIFAR-100.

    raykd train cifar100/fitnet_mkd_resnet8x4

Cost: 240 epochs with three frozen teachers, which are trained first (three times 240 epochs) where they are missing.
Published: none quoted.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.fitnet_mkd import FitNetMKD
from raykd.recipe import Teachers, Train
from raykd.recipes.cifar100.supervised_resnet8x4 import recipe as supervised
from raykd.recipes.cifar100.teacher_resnet32x4 import recipe as teacher

recipe = replace(
    supervised,
    method=FitNetMKD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher, seeds=(0, 1, 2)),)),
    published=(),
)
