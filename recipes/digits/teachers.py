"""Three digits teachers trained in parallel, and a student distilled from all of them.

raykd tune digits/teachers     (only the teachers: the accuracy of each and of the ensemble)
raykd train digits/teachers    (the same teachers, trained if missing, then the student)
"""

from dataclasses import replace

from raykd.methods.aver_mkd import AverMKD
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=AverMKD.Config(),
    teachers=Teachers(sources=(Train(recipe=replace(teacher, workers=1), seeds=(0, 1, 2)),)),
)
