"""Branches on one trunk without distillation on digits: OKDDip's own baseline.

raykd train digits/individual

Measured: 96.74 ± 1.03 % over seeds 0, 1, 2; the student alone 96.74 ± 0.93 % (see recipes/README.md).
"""

from dataclasses import replace

from raykd.methods.individual import Individual
from raykd.recipes.digits.supervised import recipe as supervised

recipe = replace(supervised, method=Individual.Config())
