"""CA-MKD's comparison (Zhang et al. 2022): three teachers and one student, on CIFAR-100 and Tiny ImageNet.

    raykd study studies/ca_mkd
    raykd report runs/studies/ca_mkd

Cost: 240 epochs with three frozen teachers each; the teachers of a column are trained once. Measured: not run here.
"""

from dataclasses import replace

from raykd.data.config import Data
from raykd.data.sources import TinyImageNet
from raykd.data.transforms import Flip, RandomCrop
from raykd.methods.aekd import AEKD
from raykd.methods.aver_mkd import AverMKD
from raykd.methods.ca_mkd import CAMKD
from raykd.methods.ebkd import EBKD
from raykd.methods.fitnet_mkd import FitNetMKD
from raykd.methods.kd import KD
from raykd.methods.supervised import Supervised
from raykd.models.config import Network
from raykd.recipe import Recipe, Teachers, Train
from raykd.recipe.study import Column, Quotes, Row, Study
from raykd.recipes.cifar100.teacher_resnet32x4 import recipe as cifar100

cifar100 = replace(cifar100, published=())
tiny = replace(
    cifar100,
    data=Data(
        source=TinyImageNet(path="~/data/tiny-imagenet-200"), image_size=64, train=(RandomCrop(padding=8), Flip())
    ),
)


def taught(on: Recipe, teacher: str, student: str, **changes: object) -> Recipe:
    """A student's recipe with three teachers that differ in their seeds."""
    trained = Train(recipe=replace(on, student=Network(name=teacher)), seeds=(0, 1, 2))
    return replace(on, student=Network(name=student), teachers=Teachers(sources=(trained,)), **changes)


slow = replace(cifar100.optimizer, learning_rate=0.01)

study = Study(
    rows=(
        Row(name="Supervised", method=Supervised.Config(), published=("student",)),
        Row(name="KD, 1 teacher", method=KD.Config(gamma=1.0, alpha=1.0)),
        Row(name="AVER", method=AverMKD.Config(), teachers=3),
        Row(name="FitNet-MKD", method=FitNetMKD.Config(), teachers=3),
        Row(name="EBKD", method=EBKD.Config(), teachers=3),
        Row(name="AEKD", method=AEKD.Config(), teachers=3, published=("AEKD-logits",)),
        Row(name="CA-MKD", method=CAMKD.Config(), teachers=3),
    ),
    columns=(
        Column(name="3 × ResNet-32x4 → VGG-8", recipe=taught(cifar100, "resnet32x4", "vgg8")),
        Column(name="3 × ResNet-32x4 → ResNet-8x4", recipe=taught(cifar100, "resnet32x4", "resnet8x4")),
        Column(name="3 × WRN-40-2 → ShuffleNetV1", recipe=taught(cifar100, "wrn_40_2", "shufflenetv1", optimizer=slow)),
        Column(
            name="3 × VGG-13 → MobileNetV2, Tiny ImageNet",
            recipe=taught(tiny, "vgg13", "mobilenetv2_half", optimizer=slow),
            published=Quotes(dataset="TinyImageNet", teacher="3 x vgg13", student="MobileNetV2"),
        ),
    ),
    baseline="Supervised",
    published=("published/ca_mkd.csv",),
)
