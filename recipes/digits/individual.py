"""Branches on one trunk without distillation on digits: OKDDip's own baseline.

raykd train recipes/digits/individual.py
"""

from dataclasses import replace

from raykd.methods.individual import Individual
from recipes.digits.supervised import recipe as supervised

recipe = replace(supervised, method=Individual.Config())
