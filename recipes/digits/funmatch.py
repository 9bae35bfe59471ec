"""A patient and consistent teacher (FunMatch, Beyer et al. 2022) on digits: mixup of every batch, without labels.

raykd train digits/funmatch
"""

from dataclasses import replace

from raykd.data.mixing import Mixup
from raykd.methods.funmatch import FunMatch
from raykd.recipe import AdamW, Cosine, Teachers, Train
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.teacher import recipe as teacher

recipe = replace(
    supervised,
    method=FunMatch.Config(temperature=2.0),
    data=replace(supervised.data, mixing=Mixup()),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
    optimizer=AdamW(learning_rate=0.01, weight_decay=1e-4, decay="schedule-only", decay_vectors=False, clip_norm=1.0),
    schedule=Cosine(warmup_steps=60),
)
