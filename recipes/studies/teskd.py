"""TESKD's comparison (Li et al. 2021): a network alone and helped by its own students, on CIFAR-100 and CIFAR-10.

    raykd study studies/teskd
    raykd report runs/studies/teskd

Cost: 200 epochs each; TESKD's backbone has three sub-networks while it trains. Measured: not run here.
"""

from dataclasses import replace

from raykd.data.sources import CIFAR10
from raykd.methods.supervised import Supervised
from raykd.methods.teskd import TESKD
from raykd.models.config import Network
from raykd.recipe import Precision
from raykd.recipe.study import Column, Quotes, Row, Study
from raykd.recipes.cifar100.supervised_resnet18 import recipe as resnet18

resnet18 = replace(resnet18, published=())


def on(network: str) -> Column:
    return Column(name=network, recipe=replace(resnet18, student=Network(name=network)))


study = Study(
    rows=(
        Row(name="Baseline", method=Supervised.Config()),
        Row(name="TESKD", method=TESKD.Config(), changes={"precision": Precision(autocast="float16")}),
    ),
    columns=(
        Column(
            name="ResNet-18",
            recipe=resnet18,
            published=Quotes(dataset="CIFAR-100", student="ResNet18 (cifarresnet18)"),
        ),
        on("cifar_resnet50"),
        on("cifar_resnext50_32x4d"),
        on("cifar_seresnet18"),
        on("cifar_seresnet50"),
        on("cifar_vgg16"),
        Column(name="ResNet-18, CIFAR-10", recipe=replace(resnet18, data=replace(resnet18.data, source=CIFAR10()))),
    ),
    baseline="Baseline",
    published=("published/teskd.csv",),
)
