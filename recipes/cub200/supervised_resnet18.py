"""ResNet-18 fine-tuned on CUB-200-2011 from torchvision's ImageNet weights: the baseline of the student here.

    raykd train cub200/supervised_resnet18

Cost: 60 epochs; 5,619 steps of batch 64.
Published: none quoted; the settings are raykd's own.
Measured: not run here.
"""

from dataclasses import replace

from raykd.models.config import Network
from raykd.recipes.cub200.teacher_resnet34 import recipe as teacher

recipe = replace(teacher, student=Network(name="torchvision:resnet18", weights="pretrained"))
