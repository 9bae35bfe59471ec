"""ResNet-34 fine-tuned on MIT Indoor Scenes from torchvision's ImageNet weights: the teacher of the recipes here.

    raykd train mit67/teacher_resnet34

The images are in ~/data/mit67 (Images, TrainImages.txt, TestImages.txt); --data.source.path names another folder.

Cost: 60 epochs; 5,025 steps of batch 64.
Published: none quoted; the settings are raykd's own.
Measured: not run here.
"""

from dataclasses import replace

from raykd.data.sources import MIT67
from raykd.recipes.stanford_dogs.teacher_resnet34 import recipe as dogs

recipe = replace(dogs, data=replace(dogs.data, source=MIT67(path="~/data/mit67")))
