"""ResNet-8x4 alone on CIFAR-10, on RepDistiller's schedule: the baseline of its students.

    raykd train cifar10/supervised_resnet8x4

Cost: 240 epochs; 187,500 steps of batch 64.
Published: none quoted.
Measured: not run here.
"""

from dataclasses import replace

from raykd.models.config import Network
from raykd.recipes.cifar10.teacher_resnet32x4 import recipe as teacher

recipe = replace(teacher, student=Network(name="resnet8x4"))
