"""Semantic calibration across layers (SemCKD, Chen et al. 2021) on digits.

raykd train digits/semckd

β 3 is the best of 100, 30, 10, 3 and 1 on a tenth of the training split with seed 100; with the published 400 training
diverges here.
"""

from dataclasses import replace

from raykd.methods.semckd import SemCKD
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=SemCKD.Config(beta=3.0),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
