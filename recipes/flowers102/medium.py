"""FunMatch (Beyer et al. 2022) on Oxford Flowers 102, the medium schedule.

    raykd train flowers102/medium

Cost: 100,000 epochs; 199,218 steps of batch 512.
Published: none quoted.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.funmatch import FunMatch
from raykd.recipes.flowers102.fast import recipe as fast

recipe = replace(
    fast,
    method=FunMatch.Config(temperature=1),
    epochs=100_000,
    optimizer=replace(fast.optimizer, learning_rate=0.001, weight_decay=0.0001),
    evaluate_every=1000,
)
