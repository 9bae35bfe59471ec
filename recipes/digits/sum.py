"""A sum of two methods, KD and the channels' correlations (ICKD combined with KD, Liu et al. 2021), on digits.

raykd train digits/sum     (weights: --method.weights 1.0 0.5; a field: --method.methods.0.alpha 0.5)
"""

from dataclasses import replace

from raykd.methods.ickd import ICKD
from raykd.methods.kd import KD
from raykd.methods.sum import Sum
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=Sum.Config(methods=(KD.Config(gamma=1.0, alpha=1.0), ICKD.Config(gamma=0.0)), weights=(1.0, 1.0)),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
