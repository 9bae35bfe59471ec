"""Classic KD (Hinton et al. 2015), RepDistiller's weights: ResNet-32x4 → ResNet-8x4 on CIFAR-100.

    raykd train cifar100/kd_resnet8x4

Other methods and networks of the comparison are cells of the study studies/crd.

Cost: 240 epochs; the teacher is trained first if missing.
Published: top-1 73.33 % (CRD, Tian et al. 2020, table 1).
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.kd import KD
from raykd.recipe import Published, Teachers, Train
from raykd.recipes.cifar100.supervised_resnet8x4 import recipe as supervised
from raykd.recipes.cifar100.teacher_resnet32x4 import recipe as teacher

recipe = replace(
    supervised,
    method=KD.Config(),
    teachers=Teachers(sources=(Train(recipe=teacher),)),
    published=(Published(metric="top1", value=0.7333, source="CRD, Tian et al. 2020, table 1"),),
)
