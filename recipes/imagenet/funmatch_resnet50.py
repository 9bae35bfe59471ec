"""A patient and consistent teacher (FunMatch, Beyer et al. 2022): BiT ResNet-152x2 → BiT ResNet-50 on ImageNet-1k.

    raykd train imagenet/funmatch_resnet50

Cost: 1,200 epochs (the longest of the paper: 9,600, by --epochs 9600); 375,000 steps of batch 4,096 with a teacher of
236 M parameters.
Published: top-1 82.8 % at 224 pixels after 9,600 epochs (Beyer et al. 2022); the teacher 83.0 %.
Measured: not run here.
"""

from dataclasses import replace

from raykd.data.mixing import Mixup
from raykd.data.transforms import CenterCrop, Flip, RandomResizedCrop, Resize
from raykd.methods.funmatch import FunMatch
from raykd.models.config import Network
from raykd.recipe import AdamW, Cosine, Pretrained, Published, Teachers
from raykd.recipes.imagenet.supervised_resnet18 import recipe as supervised

TEACHER = Network(name="timm:resnetv2_152x2_bit.goog_teacher_in21k_ft_in1k", weights="pretrained")

recipe = replace(
    supervised,
    method=FunMatch.Config(temperature=1.0),
    student=Network(name="timm:resnetv2_50x1_bit"),
    teachers=Teachers(sources=(Pretrained(network=TEACHER, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),)),
    data=replace(
        supervised.data,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        train=(RandomResizedCrop(area=(0.05, 1.0)), Flip()),
        test=(Resize(size=256), CenterCrop()),
        mixing=Mixup(),
    ),
    epochs=1200,
    batch_size=4096,
    optimizer=AdamW(learning_rate=0.03, weight_decay=3e-4, decay="schedule-only", decay_vectors=False, clip_norm=1.0),
    schedule=Cosine(warmup_steps=5000),
    evaluate_every=10,
    workers=32,
    published=(Published(metric="top1", value=0.828, source="Beyer et al. 2022, after 9,600 epochs"),),
)
