"""ResNet-32 alone on CIFAR-100, on OKDDip's schedule: the baseline of the online methods.

    raykd train cifar100/supervised_resnet32

Cost: 300 epochs; 117,000 steps of batch 128.
Published: error 28.9 % (OKDDip, Chen et al. 2020, table 1, as three re-implementations report it too).
Measured: not run here.
"""

from raykd.data.config import Data
from raykd.data.sources.libraries import CIFAR100
from raykd.data.transforms import Flip, RandomCrop
from raykd.methods.supervised import Supervised
from raykd.models.config import Network
from raykd.recipe import SGD, Published, Recipe, Steps

recipe = Recipe(
    method=Supervised.Config(),
    student=Network(name="resnet32"),
    data=Data(
        source=CIFAR100(),
        image_size=32,
        mean=(0.5071, 0.4867, 0.4408),
        std=(0.2675, 0.2565, 0.2761),
        train=(RandomCrop(padding=4), Flip()),
    ),
    epochs=300,
    batch_size=128,
    optimizer=SGD(learning_rate=0.1, weight_decay=5e-4),
    schedule=Steps(milestones=(150, 225)),
    gpus_per_worker=1,
    published=(Published(metric="top1", value=0.711, source="OKDDip, Chen et al. 2020, and re-implementations"),),
)
