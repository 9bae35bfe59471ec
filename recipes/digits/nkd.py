"""Normalised KD (NKD, Yang et al. 2023) on digits.

raykd train recipes/digits/nkd.py
"""

from dataclasses import replace

from raykd.methods.nkd import NKD
from raykd.recipe import Teachers, Train
from recipes.digits.supervised import recipe as supervised
from recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=NKD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
