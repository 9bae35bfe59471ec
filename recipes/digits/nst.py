"""Neuron selectivity transfer (Huang & Wang 2017) on digits.

raykd train digits/nst
"""

from dataclasses import replace

from raykd.methods.nst import NST
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=NST.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
