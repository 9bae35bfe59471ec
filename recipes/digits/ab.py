"""Activation boundaries (Heo et al. 2019) on digits: its initialise phase, then the labels alone.

raykd train digits/ab
"""

from dataclasses import replace

from raykd.methods.ab import AB
from raykd.recipe import SGD, Initialise, Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=AB.Config(),
    initialise=Initialise(epochs=3, optimizer=SGD(learning_rate=0.05, weight_decay=5e-4, nesterov=False)),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
)
