"""Confidence-aware multi-teacher distillation (CA-MKD): 3 × ResNet-32x4 → VGG-8 on Tiny-ImageNet.

    raykd train tiny_imagenet/ca_mkd_vgg8

Cost: 240 epochs with three frozen teachers, which are trained first if missing.
Published: top-1 49.55 % (CA-MKD, Zhang et al. 2022, table 6, as others restate it).
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.ca_mkd import CAMKD
from raykd.recipe import Published, Teachers, Train
from raykd.recipes.tiny_imagenet.supervised_vgg8 import recipe as supervised
from raykd.recipes.tiny_imagenet.teacher_resnet32x4 import recipe as teacher

recipe = replace(
    supervised,
    method=CAMKD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher, seeds=(0, 1, 2)),)),
    published=(Published(metric="top1", value=0.4955, source="CA-MKD, Zhang et al. 2022, table 6, as restated"),),
)
