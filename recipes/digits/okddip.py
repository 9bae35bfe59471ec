"""Online distillation with diverse peers (OKDDip, Chen et al. 2020) on digits.

raykd train digits/okddip
"""

from dataclasses import replace

from raykd.methods.okddip import OKDDip
from raykd.recipes.digits.supervised import recipe as supervised

recipe = replace(supervised, method=OKDDip.Config(ramp_up_epochs=5))
