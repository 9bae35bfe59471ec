"""Masked generative distillation (MGD, Yang et al. 2022) on digits.

raykd train digits/mgd
"""

from dataclasses import replace

from raykd.methods.mgd import MGD
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=MGD.Config(alpha=1.2e-3),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
