"""Three teachers averaged (AVER-MKD) on digits.

raykd train digits/aver_mkd
"""

from dataclasses import replace

from raykd.methods.aver_mkd import AverMKD
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=AverMKD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher, seeds=(0, 1, 2)),)),
)
