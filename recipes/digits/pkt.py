"""Probabilistic knowledge transfer (Passalis & Tefas 2018) on digits.

raykd train digits/pkt
"""

from dataclasses import replace

from raykd.methods.pkt import PKT
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=PKT.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
