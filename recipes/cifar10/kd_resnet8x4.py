"""Classic distillation (Hinton et al. 2015): ResNet-32x4 → ResNet-8x4 on CIFAR-10.

    raykd train cifar10/kd_resnet8x4

Cost: 240 epochs with a frozen teacher, which is trained first if missing.
Published: none quoted.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.kd import KD
from raykd.recipe import Teachers, Train
from raykd.recipes.cifar10.supervised_resnet8x4 import recipe as supervised
from raykd.recipes.cifar10.teacher_resnet32x4 import recipe as teacher

recipe = replace(supervised, method=KD.Config(), teachers=Teachers(sources=(Train(recipe=teacher),)))
