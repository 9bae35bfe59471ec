"""Three teachers weighted by their entropy (EBKD) on digits.

raykd train digits/ebkd
"""

from dataclasses import replace

from raykd.methods.ebkd import EBKD
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=EBKD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher, seeds=(0, 1, 2)),)),
)
