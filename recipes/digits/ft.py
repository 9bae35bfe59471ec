"""Factor transfer (Kim et al. 2018) on digits: the paraphraser in the initialise phase, then the student.

raykd train digits/ft
"""

from dataclasses import replace

from raykd.methods.ft import FT
from raykd.recipe import SGD, Initialise, Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=FT.Config(),
    initialise=Initialise(epochs=3, optimizer=SGD(learning_rate=0.01, weight_decay=5e-4, nesterov=False)),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
