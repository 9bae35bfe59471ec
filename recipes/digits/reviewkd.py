"""Knowledge review (ReviewKD, Chen et al. 2021) on digits.

raykd train digits/reviewkd
"""

from dataclasses import replace

from raykd.methods.reviewkd import ReviewKD
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=ReviewKD.Config(warm_up_epochs=2.0),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
