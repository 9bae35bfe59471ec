"""Deep mutual learning (Zhang et al. 2018) on digits.

raykd train digits/dml
"""

from dataclasses import replace

from raykd.methods.dml import DML
from raykd.recipes.digits.supervised import recipe as supervised

recipe = replace(supervised, method=DML.Config())
