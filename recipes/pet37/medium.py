"""FunMatch (Beyer et al. 2022) on Oxford-IIIT Pet, the medium schedule.

    raykd train pet37/medium

Cost: 3,000 epochs; 21,562 steps of batch 512.
Published: none quoted.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.funmatch import FunMatch
from raykd.recipes.pet37.fast import recipe as fast

recipe = replace(
    fast,
    method=FunMatch.Config(temperature=10),
    epochs=3_000,
    optimizer=replace(fast.optimizer, learning_rate=0.003, weight_decay=0.0003),
    evaluate_every=30,
)
