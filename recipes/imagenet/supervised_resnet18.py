"""ResNet-18 alone on ImageNet-1k: the usual 100 epochs.

    raykd train imagenet/supervised_resnet18

Cost: 100 epochs; 250,000 steps of batch 512 over 8 GPUs.
Published: top-1 69.75 % (torchvision's weights, the baseline of CRD, DKD and DIST).
Measured: not run here.
The folder with train/WNID and val/WNID is given by --data.source.path.
"""

from raykd.data.config import Data, Encoding
from raykd.data.sources.folders import ImageNet
from raykd.data.transforms import CenterCrop, Flip, RandomResizedCrop, Resize
from raykd.methods.supervised import Supervised
from raykd.models.config import Network
from raykd.recipe import SGD, Precision, Published, Recipe, Steps

recipe = Recipe(
    method=Supervised.Config(),
    student=Network(name="torchvision:resnet18"),
    data=Data(
        source=ImageNet(),
        image_size=224,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        train=(RandomResizedCrop(), Flip()),
        test=(Resize(size=256), CenterCrop()),
        encoding=Encoding(mode="jpeg", max_resolution=500),
    ),
    epochs=100,
    batch_size=512,
    optimizer=SGD(learning_rate=0.2, weight_decay=1e-4),
    schedule=Steps(milestones=(30, 60, 90)),
    precision=Precision(autocast="bfloat16"),
    workers=8,
    cpus_per_worker=8,
    gpus_per_worker=1,
    log_every=100,
    published=(Published(metric="top1", value=0.6975, source="baseline of CRD, DKD, DIST"),),
)
