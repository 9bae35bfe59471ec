"""VGG-8 alone on Tiny-ImageNet: the baseline of the student here.

    raykd train tiny_imagenet/supervised_vgg8

Cost: 240 epochs; 375,000 steps of batch 64.
Published: top-1 44.40 % (CA-MKD, Zhang et al. 2022, table 6, as others restate it).
Measured: not run here.
"""

from dataclasses import replace

from raykd.models.config import Network
from raykd.recipe import Published
from raykd.recipes.tiny_imagenet.teacher_resnet32x4 import recipe as teacher

recipe = replace(
    teacher,
    student=Network(name="vgg8"),
    published=(Published(metric="top1", value=0.444, source="CA-MKD, Zhang et al. 2022, table 6, as restated"),),
)
