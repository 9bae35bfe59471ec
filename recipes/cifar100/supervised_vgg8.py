"""VGG-8 alone on CIFAR-100, on RepDistiller's schedule.

    raykd train cifar100/supervised_vgg8

Cost: 240 epochs; 187,000 steps of batch 64.
Published: top-1 70.36 % (CRD, Tian et al. 2020, table 1).
Measured: not run here.
"""

from dataclasses import replace

from raykd.models.config import Network
from raykd.recipe import Published
from raykd.recipes.cifar100.teacher_resnet32x4 import recipe as teacher

recipe = replace(
    teacher,
    student=Network(name="vgg8"),
    published=(Published(metric="top1", value=0.7036, source="CRD, Tian et al. 2020, table 1"),),
)
