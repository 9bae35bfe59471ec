"""Semantic calibration across layers (SemCKD, Chen et al. 2021) on digits.

raykd train recipes/digits/semckd.py
"""

from dataclasses import replace

from raykd.methods.semckd import SemCKD
from raykd.recipe import Teachers, Train
from recipes.digits.supervised import recipe as supervised
from recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=SemCKD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
