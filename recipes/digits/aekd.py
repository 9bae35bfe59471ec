"""Three teachers weighted by their gradients (AEKD, Du et al. 2020) on digits.

raykd train digits/aekd
"""

from dataclasses import replace

from raykd.methods.aekd import AEKD
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=AEKD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher, seeds=(0, 1, 2)),)),
)
