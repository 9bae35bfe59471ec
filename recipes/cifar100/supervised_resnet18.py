"""ResNet-18 (CIFAR stem) alone on CIFAR-100, on TESKD's schedule and with its normalisation, which is CIFAR-10's.

    raykd train cifar100/supervised_resnet18

Cost: 200 epochs; 78,000 steps of batch 128.
Published: top-1 74.41 % (TESKD, Li et al. 2021).
Measured: not run here.
"""

from dataclasses import replace

from raykd.models.config import Network
from raykd.recipe import Published, Steps
from raykd.recipes.cifar100.supervised_resnet32 import recipe as supervised

recipe = replace(
    supervised,
    student=Network(name="cifar_resnet18"),
    data=replace(supervised.data, mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010)),
    epochs=200,
    schedule=Steps(milestones=(100, 150)),
    published=(Published(metric="top1", value=0.7441, source="TESKD, Li et al. 2021"),),
)
