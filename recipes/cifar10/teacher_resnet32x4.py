"""ResNet-32x4 on CIFAR-10 on RepDistiller's schedule: the teacher of the recipes here.

    raykd train cifar10/teacher_resnet32x4

Cost: 240 epochs; 187,500 steps of batch 64.
Published: none quoted.
Measured: not run here.
"""

from dataclasses import replace

from raykd.recipes.cifar10.supervised_resnet32 import recipe as cifar10
from raykd.recipes.cifar100.teacher_resnet32x4 import recipe as teacher

recipe = replace(teacher, data=cifar10.data, published=())
