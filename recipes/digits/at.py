"""Attention transfer (Zagoruyko & Komodakis 2017) on digits.

raykd train digits/at
"""

from dataclasses import replace

from raykd.methods.at import AT
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=AT.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
