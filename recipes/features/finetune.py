"""The student of `match.py`, fine-tuned with labels at a tenth of the learning rate.

raykd train features/finetune
"""

from dataclasses import replace

from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.features.probe import recipe as probe

recipe = replace(supervised, student=probe.student, optimizer=replace(supervised.optimizer, learning_rate=0.005))
