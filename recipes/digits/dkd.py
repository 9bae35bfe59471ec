"""Decoupled KD (Zhao et al. 2022) on digits.

raykd train digits/dkd
"""

from dataclasses import replace

from raykd.methods.dkd import DKD
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=DKD.Config(beta=2.0, warm_up_epochs=2),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
