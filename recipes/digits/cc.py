"""Correlation congruence (Peng et al. 2019) on digits.

raykd train digits/cc
"""

from dataclasses import replace

from raykd.methods.cc import CC
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=CC.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
