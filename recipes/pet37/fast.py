"""FunMatch (Beyer et al. 2022) on Oxford-IIIT Pet, the fast schedule: BiT ResNet-101x3 → BiT ResNet-50 at 128 pixels.

    raykd train pet37/fast

Cost: 1,000 epochs; 7,187 steps of batch 512; the teacher is fine-tuned first if missing.
Published: none quoted for these settings; a re-implementation's own are in tf_teacher.py and tf_student.py.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.funmatch import FunMatch
from raykd.recipe import Teachers, Train
from raykd.recipes.flowers102.fast import recipe as flowers
from raykd.recipes.pet37.teacher import recipe as teacher

recipe = replace(
    flowers,
    method=FunMatch.Config(temperature=5),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
    data=replace(flowers.data, source=teacher.data.source),
    epochs=1_000,
    optimizer=replace(flowers.optimizer, learning_rate=0.01, weight_decay=0.001),
    evaluate_every=10,
)
