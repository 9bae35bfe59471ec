"""Scale decoupled distillation (SDD, Wei et al. 2024) with KD on digits.

raykd train digits/sdd
"""

from dataclasses import replace

from raykd.methods.sdd import SDD
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=SDD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
