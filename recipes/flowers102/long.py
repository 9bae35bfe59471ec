"""FunMatch (Beyer et al. 2022) on Oxford Flowers 102, the long schedule.

    raykd train flowers102/long

Cost: 1,000,000 epochs; 1,992,187 steps of batch 512.
Published: none quoted.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.funmatch import FunMatch
from raykd.recipes.flowers102.fast import recipe as fast

recipe = replace(
    fast,
    method=FunMatch.Config(temperature=1),
    epochs=1_000_000,
    optimizer=replace(fast.optimizer, learning_rate=0.0003, weight_decay=1e-5),
    evaluate_every=10000,
)
