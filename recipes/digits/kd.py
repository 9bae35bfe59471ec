"""Classic knowledge distillation (Hinton et al. 2015) on scikit-learn's digits.

raykd train digits/kd
"""

from dataclasses import replace

from raykd.methods.kd import KD
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=KD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
