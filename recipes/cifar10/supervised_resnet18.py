"""ResNet-18 (CIFAR stem) alone on CIFAR-10, on TESKD's schedule.

    raykd train cifar10/supervised_resnet18

Cost: 200 epochs; 78,125 steps of batch 128.
Published: none quoted.
Measured: not run here.
"""

from dataclasses import replace

from raykd.recipes.cifar10.supervised_resnet32 import recipe as cifar10
from raykd.recipes.cifar100.supervised_resnet18 import recipe as supervised

recipe = replace(supervised, data=cifar10.data, published=())
