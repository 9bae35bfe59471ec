"""FunMatch (Beyer et al. 2022) on Food-101, the medium schedule.

    raykd train food101/medium

Cost: 1,000 epochs; 147,949 steps of batch 512.
Published: none quoted.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.funmatch import FunMatch
from raykd.recipes.food101.fast import recipe as fast

recipe = replace(
    fast,
    method=FunMatch.Config(temperature=10),
    epochs=1_000,
    optimizer=replace(fast.optimizer, learning_rate=0.001, weight_decay=0.0001),
    evaluate_every=10,
)
