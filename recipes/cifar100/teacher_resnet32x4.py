"""ResNet-32x4 on CIFAR-100 on RepDistiller's schedule: the teacher of the recipes here.

    raykd train cifar100/teacher_resnet32x4

Cost: 240 epochs; 187,000 steps of batch 64.
Published: top-1 79.42 % (CRD, Tian et al. 2020, table 1).
Measured: not run here.
"""

from dataclasses import replace

from raykd.models.config import Network
from raykd.recipe import SGD, Published, Steps
from raykd.recipes.cifar100.supervised_resnet32 import recipe as supervised

recipe = replace(
    supervised,
    student=Network(name="resnet32x4"),
    epochs=240,
    batch_size=64,
    optimizer=SGD(learning_rate=0.05, weight_decay=5e-4, nesterov=False),
    schedule=Steps(milestones=(150, 180, 210)),
    published=(Published(metric="top1", value=0.7942, source="CRD, Tian et al. 2020, table 1"),),
)
