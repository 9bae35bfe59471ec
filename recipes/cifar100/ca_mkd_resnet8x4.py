"""Confidence-aware multi-teacher distillation (CA-MKD, Zhang et al. 2022): 3 × ResNet-32x4 → ResNet-8x4 on CIFAR-100.

    raykd train cifar100/ca_mkd_resnet8x4

Other methods and networks of the comparison are cells of the study studies/ca_mkd.

Cost: 240 epochs with three frozen teachers, which are trained first (three times 240 epochs) if missing.
Published: none quoted.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.ca_mkd import CAMKD
from raykd.recipe import Teachers, Train
from raykd.recipes.cifar100.supervised_resnet8x4 import recipe as supervised
from raykd.recipes.cifar100.teacher_resnet32x4 import recipe as teacher

recipe = replace(
    supervised,
    method=CAMKD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher, seeds=(0, 1, 2)),)),
    published=(),
)
