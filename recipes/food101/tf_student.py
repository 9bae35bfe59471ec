"""FunMatch on Food-101 as a TensorFlow re-implementation ran it: BiT ResNet-101x3 → BiT ResNet-50, 100 epochs.

    raykd train food101/tf_student
    raykd eval runs/food101/tf_student --test

Cost: 100 epochs; 13,315 steps of batch 512; the teacher is fine-tuned first if missing.
Published: top-1 76.06 % on the test split (S. Paul, FunMatch-Distillation).
Measured: not run here.
The re-implementation shows only its notebook for Oxford-IIIT Pet, whose settings these are.
"""

from dataclasses import replace

from raykd.recipe import Published, Teachers, Train
from raykd.recipes.food101.tf_teacher import recipe as teacher
from raykd.recipes.pet37.tf_student import recipe as pet

recipe = replace(
    pet,
    teachers=Teachers(sources=(Train(recipe=teacher),)),
    data=replace(pet.data, source=teacher.data.source),
    epochs=100,
    evaluate_every=1,
    published=(Published(metric="top1", value=0.7606, source="S. Paul, FunMatch-Distillation"),),
)
