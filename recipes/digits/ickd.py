"""Inter-channel correlation (ICKD, Liu et al. 2021) on digits.

raykd train recipes/digits/ickd.py
"""

from dataclasses import replace

from raykd.methods.ickd import ICKD
from raykd.recipe import Teachers, Train
from recipes.digits.supervised import recipe as supervised
from recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=ICKD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
