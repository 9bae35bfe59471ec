"""BiT ResNet-101x3 fine-tuned on Oxford Flowers 102 as a TensorFlow re-implementation of FunMatch does it.

    raykd train flowers102/tf_teacher
    raykd eval runs/flowers102/tf_teacher --test

Cost: 450 steps of batch 512 at 128 pixels.
Published: top-1 98.18 % on the test split (S. Paul, FunMatch-Distillation).
Measured: not run here.
The re-implementation shows only its notebook for Oxford-IIIT Pet, whose settings and steps these are.
"""

from dataclasses import replace

from raykd.recipe import Piecewise, Published
from raykd.recipes.flowers102.teacher import recipe as teacher
from raykd.recipes.pet37.tf_teacher import recipe as pet

recipe = replace(
    pet,
    data=replace(pet.data, source=teacher.data.source),
    epochs=250.981,
    schedule=Piecewise(shares=((111.546, 0.1), (167.32, 0.001), (223.093, 0.0001))),
    evaluate_every=10,
    published=(Published(metric="top1", value=0.9818, source="S. Paul, FunMatch-Distillation"),),
)
