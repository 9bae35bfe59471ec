"""ResNet-34 fine-tuned on CUB-200-2011 from torchvision's ImageNet weights: the teacher of the recipes here.

    raykd train cub200/teacher_resnet34

The images are in ~/data/CUB_200_2011; --data.source.path names another folder.

Cost: 60 epochs; 5,619 steps of batch 64.
Published: none quoted; the settings are raykd's own.
Measured: not run here.
"""

from dataclasses import replace

from raykd.data.sources import CUB200
from raykd.recipes.stanford_dogs.teacher_resnet34 import recipe as dogs

recipe = replace(dogs, data=replace(dogs.data, source=CUB200(path="~/data/CUB_200_2011")))
