"""ResNet-34 fine-tuned on Stanford Dogs from torchvision's ImageNet weights: the teacher of the recipes here.

    raykd train stanford_dogs/teacher_resnet34

The images are in ~/data/stanford-dogs (Images, train_list.mat, test_list.mat); --data.source.path names another folder.

Cost: 60 epochs; 11,250 steps of batch 64.
Published: none quoted; the settings are raykd's own.
Measured: not run here.
"""

from raykd.data.config import Data, Encoding
from raykd.data.sources import StanfordDogs
from raykd.data.transforms import CenterCrop, Flip, RandomResizedCrop, Resize
from raykd.methods.supervised import Supervised
from raykd.models.config import Network
from raykd.recipe import SGD, Cosine, Precision, Recipe

recipe = Recipe(
    method=Supervised.Config(),
    student=Network(name="torchvision:resnet34", weights="pretrained"),
    data=Data(
        source=StanfordDogs(path="~/data/stanford-dogs"),
        image_size=224,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        train=(RandomResizedCrop(), Flip()),
        test=(Resize(size=256), CenterCrop()),
        encoding=Encoding(mode="jpeg", max_resolution=500),
    ),
    epochs=60,
    batch_size=64,
    optimizer=SGD(learning_rate=0.01, weight_decay=1e-4),
    schedule=Cosine(warmup_steps=200),
    precision=Precision(autocast="bfloat16"),
    workers=1,
    cpus_per_worker=8,
    gpus_per_worker=1,
)
