"""Semantic calibration across layers (SemCKD, Chen et al. 2021) on digits.

raykd train digits/semckd
"""

from dataclasses import replace

from raykd.methods.semckd import SemCKD
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=SemCKD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
