"""FunMatch (Beyer et al. 2022) on Food-101, the long schedule.

    raykd train food101/long

Cost: 3,000 epochs; 443,847 steps of batch 512.
Published: none quoted.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.funmatch import FunMatch
from raykd.recipes.food101.fast import recipe as fast

recipe = replace(
    fast,
    method=FunMatch.Config(temperature=5),
    epochs=3_000,
    optimizer=replace(fast.optimizer, learning_rate=0.01, weight_decay=0.0001),
    evaluate_every=30,
)
