"""Inter-channel correlation (ICKD, Liu et al. 2021) on digits.

raykd train digits/ickd
"""

from dataclasses import replace

from raykd.methods.ickd import ICKD
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=ICKD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
