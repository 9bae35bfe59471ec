"""Variational information distillation (Ahn et al. 2019) on digits.

raykd train digits/vid
"""

from dataclasses import replace

from raykd.methods.vid import VID
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=VID.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
