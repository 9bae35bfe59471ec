"""The teacher's decision as a second label (DeiT, Touvron et al. 2021) on digits.

raykd train digits/deit
"""

from dataclasses import replace

from raykd.methods.deit import DeiT
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=DeiT.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
