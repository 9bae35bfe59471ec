"""BiT ResNet-101x3 fine-tuned on Food-101 as a TensorFlow re-implementation of FunMatch does it.

    raykd train food101/tf_teacher
    raykd eval runs/food101/tf_teacher --test

Cost: 450 steps of batch 512 at 128 pixels.
Published: top-1 85.52 % on the test split (S. Paul, FunMatch-Distillation).
Measured: not run here.
The re-implementation shows only its notebook for Oxford-IIIT Pet, whose settings and steps these are.
"""

from dataclasses import replace

from raykd.recipe import Piecewise, Published
from raykd.recipes.food101.teacher import recipe as teacher
from raykd.recipes.pet37.tf_teacher import recipe as pet

recipe = replace(
    pet,
    data=replace(pet.data, source=teacher.data.source),
    epochs=3.38,
    schedule=Piecewise(shares=((1.502, 0.1), (2.253, 0.001), (3.004, 0.0001))),
    evaluate_every=1,
    published=(Published(metric="top1", value=0.8552, source="S. Paul, FunMatch-Distillation"),),
)
