"""ResNet-32 alone on CIFAR-10, on OKDDip's schedule: the baseline of the online methods.

    raykd train cifar10/supervised_resnet32

Cost: 300 epochs; 117,187 steps of batch 128.
Published: none quoted.
Measured: not run here.
"""

from dataclasses import replace

from raykd.data.sources.libraries import CIFAR10
from raykd.recipes.cifar100.supervised_resnet32 import recipe as cifar100

recipe = replace(
    cifar100,
    data=replace(cifar100.data, source=CIFAR10(), mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010)),
    published=(),
)
