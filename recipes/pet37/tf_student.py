"""FunMatch on Oxford-IIIT Pet as a TensorFlow re-implementation ran it: BiT ResNet-101x3 → BiT ResNet-50, 300 epochs.

    raykd train pet37/tf_student
    raykd eval runs/pet37/tf_student --test

Cost: 300 epochs; 1,940 steps of batch 512; the teacher is fine-tuned first if missing.
Published: top-1 81.3 % on the test split (S. Paul, FunMatch-Distillation).
Measured: not run here.
Differences from the official settings: temperature 2, no T², uniform λ of mixup, weight decay 1e-5 whatever the rate
and on all parameters, each gradient clipped separately, a head that starts at 0. The re-implementation mixes each batch
with its reverse, which pairs images twice; here each image is mixed with the one before it.
"""

from dataclasses import replace

from raykd.data.mixing import Mixup
from raykd.methods.funmatch import FunMatch
from raykd.models.config import Network
from raykd.recipe import AdamW, Published, Teachers, Train
from raykd.recipes.pet37.fast import recipe as fast
from raykd.recipes.pet37.tf_teacher import recipe as teacher

recipe = replace(
    fast,
    method=FunMatch.Config(temperature=2, scale_by_t2=False),
    student=Network(name="timm:resnetv2_50x1_bit", zero_head=True),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
    data=replace(fast.data, test=teacher.data.test, mixing=Mixup(variant="uniform"), validation=0.1),
    epochs=300,
    optimizer=AdamW(learning_rate=0.01, weight_decay=1e-5, decay="constant", clip_norm=1.0, clip_each=True),
    published=(Published(metric="top1", value=0.813, source="S. Paul, FunMatch-Distillation"),),
)
