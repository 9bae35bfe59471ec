"""Curriculum temperature (CTKD, Li et al. 2023) with KD on digits.

raykd train digits/ctkd
"""

from dataclasses import replace

from raykd.methods.ctkd import CTKD
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=CTKD.Config(curriculum_epochs=2.0),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
