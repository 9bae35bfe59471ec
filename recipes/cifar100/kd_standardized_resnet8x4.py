"""KD with standardised logits (Sun et al. 2024): ResNet-32x4 → ResNet-8x4 on CIFAR-100.

    raykd train cifar100/kd_standardized_resnet8x4

Cost: 240 epochs; the teacher is trained first if missing.
Published: none quoted.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.kd import KD
from raykd.recipe import Teachers, Train
from raykd.recipes.cifar100.supervised_resnet8x4 import recipe as supervised
from raykd.recipes.cifar100.teacher_resnet32x4 import recipe as teacher

recipe = replace(
    supervised,
    method=KD.Config(standardize=True, temperature=2.0, alpha=9.0),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
    published=(),
)
