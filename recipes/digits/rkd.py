"""Relational knowledge distillation (Park et al. 2019) on digits.

raykd train digits/rkd
"""

from dataclasses import replace

from raykd.methods.rkd import RKD
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=RKD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
