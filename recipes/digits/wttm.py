"""Weighted transformed teacher matching (WTTM, Zheng & Yang 2024) on digits.

raykd train digits/wttm
"""

from dataclasses import replace

from raykd.methods.ttm import TTM
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=TTM.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
