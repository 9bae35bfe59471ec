"""On-the-fly native ensemble (ONE, Lan et al. 2018) on digits.

raykd train digits/one
"""

from dataclasses import replace

from raykd.methods.one import ONE
from raykd.recipes.digits.supervised import recipe as supervised

recipe = replace(supervised, method=ONE.Config(ramp_up_epochs=5))
