"""FunMatch (Beyer et al. 2022) on Food-101, the fast schedule: BiT ResNet-101x3 → BiT ResNet-50 at 128 pixels.

    raykd train food101/fast

Cost: 100 epochs; 14,794 steps of batch 512; the teacher is fine-tuned first if missing.
Published: none quoted for these settings; a re-implementation's own are in tf_teacher.py and tf_student.py.
Measured: not run here.
"""

from dataclasses import replace

from raykd.recipe import Teachers, Train
from raykd.recipes.flowers102.fast import recipe as flowers
from raykd.recipes.food101.teacher import recipe as teacher

recipe = replace(
    flowers,
    teachers=Teachers(sources=(Train(recipe=teacher),)),
    data=replace(flowers.data, source=teacher.data.source),
    epochs=100,
    optimizer=replace(flowers.optimizer, learning_rate=0.01, weight_decay=0.001),
    evaluate_every=1,
)
