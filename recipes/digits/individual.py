"""Branches with a shared trunk, without distillation, on digits: a baseline of OKDDip.

raykd train digits/individual
"""

from dataclasses import replace

from raykd.methods.individual import Individual
from raykd.recipes.digits.supervised import recipe as supervised

recipe = replace(supervised, method=Individual.Config())
