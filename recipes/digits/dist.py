"""DIST (Huang et al. 2022) on digits.

raykd train digits/dist
"""

from dataclasses import replace

from raykd.methods.dist import DIST
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=DIST.Config(temperature=4.0),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
