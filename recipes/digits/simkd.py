"""The teacher's own head on the student's projected features (SimKD, Chen et al. 2022) on digits.

raykd train digits/simkd
"""

from dataclasses import replace

from raykd.methods.simkd import SimKD
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=SimKD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
