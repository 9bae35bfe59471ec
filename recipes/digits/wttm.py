"""Weighted transformed teacher matching (WTTM, Zheng & Yang 2024) on digits.

raykd train recipes/digits/wttm.py
"""

from dataclasses import replace

from raykd.methods.ttm import TTM
from raykd.recipe import Teachers, Train
from recipes.digits.supervised import recipe as supervised
from recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=TTM.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
