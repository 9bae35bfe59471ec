"""Softmax regression representation learning (SRRL, Yang et al. 2021) on digits.

raykd train digits/srrl
"""

from dataclasses import replace

from raykd.methods.srrl import SRRL
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=SRRL.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
