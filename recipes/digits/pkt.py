"""Probabilistic knowledge transfer (Passalis & Tefas 2018) on digits.

raykd train recipes/digits/pkt.py
"""

from dataclasses import replace

from raykd.methods.pkt import PKT
from raykd.recipe import Teachers, Train
from recipes.digits.supervised import recipe as supervised
from recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=PKT.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
