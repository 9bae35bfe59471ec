"""Partial L2 distance before the activations (OFD, Heo et al. 2019) on digits.

raykd train digits/ofd
"""

from dataclasses import replace

from raykd.methods.ofd import OFD
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=OFD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
