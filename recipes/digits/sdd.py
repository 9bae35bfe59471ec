"""Scale decoupled distillation (SDD, Wei et al. 2024) with KD on digits.

raykd train recipes/digits/sdd.py
"""

from dataclasses import replace

from raykd.methods.sdd import SDD
from raykd.recipe import Teachers, Train
from recipes.digits.supervised import recipe as supervised
from recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=SDD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
