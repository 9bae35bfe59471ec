"""Weighted soft labels (WSLD, Zhou et al. 2021) on digits.

raykd train digits/wsld
"""

from dataclasses import replace

from raykd.methods.wsld import WSLD
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=WSLD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
