"""The teacher's decision as a second label (DeiT, Touvron et al. 2021) on digits.

raykd train recipes/digits/deit.py
"""

from dataclasses import replace

from raykd.methods.deit import DeiT
from raykd.recipe import Teachers, Train
from recipes.digits.supervised import recipe as supervised
from recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=DeiT.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
