"""Deep mutual learning (Zhang et al. 2018) on digits.

raykd train recipes/digits/dml.py
"""

from dataclasses import replace

from raykd.methods.dml import DML
from recipes.digits.supervised import recipe as supervised

recipe = replace(supervised, method=DML.Config())
