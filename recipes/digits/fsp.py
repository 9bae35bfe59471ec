"""The flow of solution procedures (Yim et al. 2017) on digits: its initialise phase, then the labels alone.

raykd train digits/fsp
"""

from dataclasses import replace

from raykd.methods.fsp import FSP
from raykd.recipe import SGD, Initialise, Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=FSP.Config(),
    initialise=Initialise(epochs=3, optimizer=SGD(learning_rate=0.05, weight_decay=5e-4, nesterov=False)),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
