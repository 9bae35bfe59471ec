"""Branches on one trunk without distillation on digits: OKDDip's own baseline.

raykd train digits/individual
"""

from dataclasses import replace

from raykd.methods.individual import Individual
from raykd.recipes.digits.supervised import recipe as supervised

recipe = replace(supervised, method=Individual.Config())
