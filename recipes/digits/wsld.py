"""Weighted soft labels (WSLD, Zhou et al. 2021) on digits.

raykd train recipes/digits/wsld.py
"""

from dataclasses import replace

from raykd.methods.wsld import WSLD
from raykd.recipe import Teachers, Train
from recipes.digits.supervised import recipe as supervised
from recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=WSLD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
