"""ResNet-32x4 on Tiny-ImageNet: the teacher of the recipes here.

    raykd train tiny_imagenet/teacher_resnet32x4

The images are in ~/data/tiny-imagenet-200, as the archive unpacks; --data.source.path names another folder.

Cost: 240 epochs; 375,000 steps of batch 64.
Published: top-1 53.38 % (CA-MKD, Zhang et al. 2022, table 6, as others restate it).
Measured: not run here.
"""

from dataclasses import replace

from raykd.data.config import Data
from raykd.data.sources import TinyImageNet
from raykd.data.transforms import Flip, RandomCrop
from raykd.recipe import Published
from raykd.recipes.cifar100.teacher_resnet32x4 import recipe as cifar100

recipe = replace(
    cifar100,
    data=Data(
        source=TinyImageNet(path="~/data/tiny-imagenet-200"), image_size=64, train=(RandomCrop(padding=8), Flip())
    ),
    published=(Published(metric="top1", value=0.5338, source="CA-MKD, Zhang et al. 2022, table 6, as restated"),),
)
