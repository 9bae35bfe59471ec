"""What `match.py` has learned, fine-tuned with labels at a tenth of the rate.

raykd train recipes/features/finetune.py
"""

from dataclasses import replace

from recipes.digits.supervised import recipe as supervised
from recipes.features.probe import recipe as probe

recipe = replace(supervised, student=probe.student, optimizer=replace(supervised.optimizer, learning_rate=0.005))
