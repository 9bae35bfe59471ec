"""Confidence-aware multi-teacher distillation (CA-MKD, Zhang et al. 2022) on digits.

raykd train digits/ca_mkd
"""

from dataclasses import replace

from raykd.methods.ca_mkd import CAMKD
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=CAMKD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher, seeds=(0, 1, 2)),)),
)
