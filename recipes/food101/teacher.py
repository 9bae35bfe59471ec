"""BiT ResNet-101x3 (ImageNet-21k) fine-tuned on Food-101: the teacher of the students here.

    raykd train food101/teacher

Cost: 100 epochs at 128 pixels, batch 512.
Published: none quoted for these settings; a re-implementation's own are in tf_teacher.py and tf_student.py.
Measured: not run here.
BiT fine-tuning: resize to 160, random crop 128, flip, SGD with momentum 0.9, three drops.
"""

from dataclasses import replace

from raykd.data.sources.libraries import Food101
from raykd.recipes.flowers102.teacher import recipe as flowers

recipe = replace(flowers, data=replace(flowers.data, source=Food101()))
