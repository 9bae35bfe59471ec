"""A student learns the pooled features of the digits teacher, without any label: its last layer stays untrained.

raykd train features/match

`probe.py` and `finetune.py` then turn it into a classifier. Its own top-1 is at chance.
"""

from dataclasses import replace

from raykd.methods.feature_match import FeatureMatch
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(supervised, method=FeatureMatch.Config(), teachers=Teachers(sources=(Train(recipe=teacher),)))
