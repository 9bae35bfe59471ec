"""Normalised KD (NKD, Yang et al. 2023) on digits.

raykd train digits/nkd
"""

from dataclasses import replace

from raykd.methods.nkd import NKD
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=NKD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
