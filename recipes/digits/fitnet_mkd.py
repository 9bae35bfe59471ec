"""Three teachers with hints (FitNet-MKD) on digits.

raykd train digits/fitnet_mkd
"""

from dataclasses import replace

from raykd.methods.fitnet_mkd import FitNetMKD
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=FitNetMKD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher, seeds=(0, 1, 2)),)),
)
