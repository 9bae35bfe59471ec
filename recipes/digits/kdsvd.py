"""Singular vectors of the maps (Lee et al. 2018) on digits.

raykd train digits/kdsvd
"""

from dataclasses import replace

from raykd.methods.kdsvd import KDSVD
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=KDSVD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
