"""BiT ResNet-101x3 fine-tuned on Oxford-IIIT Pet as a TensorFlow re-implementation of FunMatch does it.

    raykd train pet37/tf_teacher
    raykd eval runs/pet37/tf_teacher --test

Cost: 450 steps of batch 512 at 128 pixels.
Published: top-1 90.92 % on the test split (S. Paul, FunMatch-Distillation).
Measured: not run here.
A tenth of the training split is held out for evaluations; the second command evaluates on the test split. The head
starts at 0; the learning rate, 8e-5, drops to 0.1, 0.001 and 0.0001 times this value after 200, 300 and 400 steps.
"""

from dataclasses import replace

from raykd.data.transforms import CenterCrop, Resize
from raykd.recipe import SGD, Piecewise, Published
from raykd.recipes.pet37.teacher import recipe as teacher

recipe = replace(
    teacher,
    student=replace(teacher.student, zero_head=True),
    data=replace(
        teacher.data,
        test=(Resize(size=146, keep_aspect=False), CenterCrop()),  # the middle 87.5 % of each side
        validation=0.1,
    ),
    epochs=69.566,
    optimizer=SGD(learning_rate=8e-5, weight_decay=0.0, nesterov=False),
    schedule=Piecewise(shares=((30.917, 0.1), (46.376, 0.001), (61.835, 0.0001))),
    evaluate_every=1,
    published=(Published(metric="top1", value=0.9092, source="S. Paul, FunMatch-Distillation"),),
)
