"""DIST (Huang et al. 2022): ResNet-32x4 → ResNet-8x4 on CIFAR-100.

    raykd train cifar100/dist_resnet8x4

Cost: 240 epochs; the teacher is trained first if missing.
Published: top-1 76.31 % (DIST, Huang et al. 2022).
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.dist import DIST
from raykd.recipe import Published, Teachers, Train
from raykd.recipes.cifar100.supervised_resnet8x4 import recipe as supervised
from raykd.recipes.cifar100.teacher_resnet32x4 import recipe as teacher

recipe = replace(
    supervised,
    method=DIST.Config(beta=2.0, gamma=2.0, temperature=4.0),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
    published=(Published(metric="top1", value=0.7631, source="DIST, Huang et al. 2022"),),
)
