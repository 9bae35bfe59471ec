"""Features of DINOv2's ViT-S/14 distilled into a ResNet-18 on ImageNet's images, without labels.

raykd train features/dinov2_resnet18

Cost: 100 epochs. The teacher gets images of 224 pixels, a multiple of its patch size, whatever size it was pretrained
with. Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.feature_match import FeatureMatch
from raykd.models.config import Network
from raykd.recipe import Pretrained, Teachers
from raykd.recipes.imagenet.supervised_resnet18 import recipe as supervised

TEACHER = Network(name="timm:vit_small_patch14_dinov2.lvd142m", weights="pretrained")

recipe = replace(
    supervised,
    method=FeatureMatch.Config(hidden=1024),
    teachers=Teachers(sources=(Pretrained(network=TEACHER, image_size=224),)),
)
