"""FunMatch (Beyer et al. 2022) on Oxford Flowers 102, fast: BiT ResNet-101x3 → BiT ResNet-50 at 128 pixels.

    raykd train flowers102/fast

Cost: 10,000 epochs; 19,921 steps of batch 512; the teacher is fine-tuned first if missing.
Published: none quoted for these settings; a re-implementation's own are in tf_teacher.py and tf_student.py.
Measured: not run here.
"""

from dataclasses import replace

from raykd.data.mixing import Mixup
from raykd.data.transforms import CenterCrop, Flip, RandomResizedCrop, Resize
from raykd.methods.funmatch import FunMatch
from raykd.models.config import Network
from raykd.recipe import AdamW, Cosine, Teachers, Train
from raykd.recipes.flowers102.teacher import recipe as teacher

recipe = replace(
    teacher,
    method=FunMatch.Config(temperature=10),
    student=Network(name="timm:resnetv2_50x1_bit"),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
    data=replace(
        teacher.data,
        train=(RandomResizedCrop(area=(0.05, 1.0)), Flip()),
        test=(Resize(size=160), CenterCrop()),
        mixing=Mixup(),
    ),
    epochs=10_000,
    optimizer=AdamW(
        learning_rate=0.003, weight_decay=0.0003, decay="schedule-only", decay_vectors=False, clip_norm=1.0
    ),
    schedule=Cosine(warmup_steps=1500),
    evaluate_every=100,
)
