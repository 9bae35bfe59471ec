"""FunMatch on Oxford-IIIT Pet as a TensorFlow re-implementation ran it, for 1,000 epochs.

    raykd train pet37/tf_student_long
    raykd eval runs/pet37/tf_student_long --test

Cost: 1,000 epochs; 6,468 steps of batch 512; the teacher is fine-tuned first if missing.
Published: top-1 86 % on the test split (S. Paul, FunMatch-Distillation).
Measured: not run here.
"""

from dataclasses import replace

from raykd.recipe import Published
from raykd.recipes.pet37.tf_student import recipe as student

recipe = replace(
    student,
    epochs=1_000,
    published=(Published(metric="top1", value=0.86, source="S. Paul, FunMatch-Distillation"),),
)
