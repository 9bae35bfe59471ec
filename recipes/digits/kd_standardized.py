"""KD with standardised logits (Sun et al. 2024) on digits.

raykd train digits/kd_standardized
"""

from dataclasses import replace

from raykd.methods.kd import KD
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=KD.Config(standardize=True, temperature=2.0, alpha=9.0),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
