"""Contrastive representation distillation (Tian et al. 2020) on digits, with 512 negatives from its 1,347 images.

raykd train digits/crd
"""

from dataclasses import replace

from raykd.methods.crd import CRD
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=CRD.Config(negatives=512),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
