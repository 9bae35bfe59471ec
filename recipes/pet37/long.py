"""FunMatch (Beyer et al. 2022) on Oxford-IIIT Pet, the long schedule.

    raykd train pet37/long

Cost: 30,000 epochs; 215,625 steps of batch 512.
Published: none quoted.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.funmatch import FunMatch
from raykd.recipes.pet37.fast import recipe as fast

recipe = replace(
    fast,
    method=FunMatch.Config(temperature=2),
    epochs=30_000,
    optimizer=replace(fast.optimizer, learning_rate=0.003, weight_decay=1e-5),
    evaluate_every=300,
)
