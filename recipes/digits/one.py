"""On-the-fly native ensemble (ONE, Lan et al. 2018) on digits.

raykd train recipes/digits/one.py
"""

from dataclasses import replace

from raykd.methods.one import ONE
from recipes.digits.supervised import recipe as supervised

recipe = replace(supervised, method=ONE.Config(ramp_up_epochs=5))
