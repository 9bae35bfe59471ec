"""Similarity-preserving distillation (Tung & Mori 2019) on digits.

raykd train digits/sp
"""

from dataclasses import replace

from raykd.methods.sp import SP
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=SP.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
