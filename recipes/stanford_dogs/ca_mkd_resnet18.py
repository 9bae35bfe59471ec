"""Confidence-aware multi-teacher distillation (CA-MKD): 3 × ResNet-34 → ResNet-18 on Stanford Dogs.

    raykd train stanford_dogs/ca_mkd_resnet18

Cost: 60 epochs with three frozen teachers, which are trained first if missing.
Published: none quoted; the settings are raykd's own.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.ca_mkd import CAMKD
from raykd.recipe import Teachers, Train
from raykd.recipes.stanford_dogs.supervised_resnet18 import recipe as supervised
from raykd.recipes.stanford_dogs.teacher_resnet34 import recipe as teacher

recipe = replace(
    supervised,
    method=CAMKD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher, seeds=(0, 1, 2)),)),
)
