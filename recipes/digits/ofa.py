"""Exits at every stage (OFA-KD, Hao et al. 2023) on digits.

raykd train digits/ofa
"""

from dataclasses import replace

from raykd.methods.ofa import OFA
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=OFA.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
