"""Collaborative learning (CL-ILR, Song and Chai 2018) on digits.

raykd train digits/cl_ilr
"""

from dataclasses import replace

from raykd.methods.cl_ilr import CLILR
from raykd.recipes.digits.supervised import recipe as supervised

recipe = replace(supervised, method=CLILR.Config(ramp_up_epochs=5))
