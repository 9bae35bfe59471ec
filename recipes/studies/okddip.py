"""OKDDip's comparison (Chen et al. 2020): peers that teach each other, on CIFAR-100, and its ensemble table.

    raykd study studies/okddip
    raykd report runs/studies/okddip

The table has the deployed network's accuracy. The ensemble's is among every run's metrics (`raykd eval`); the row
without a leader is the paper's table of ensembles.

Cost: 300 epochs with four branches or networks each. Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.cl_ilr import CLILR
from raykd.methods.dml import DML
from raykd.methods.individual import Individual
from raykd.methods.okddip import OKDDip
from raykd.methods.one import ONE
from raykd.methods.supervised import Supervised
from raykd.models.config import Network
from raykd.recipe.study import Column, Quotes, Row, Study
from raykd.recipes.cifar100.supervised_resnet32 import recipe as resnet32

resnet32 = replace(resnet32, published=())
# As in the authors' code, the branches have dropout 0.5 in the classifier; the baseline has none.
DROPOUT = {"VGG-16": {"student": Network(name="okddip_vgg16_dropout")}}

study = Study(
    rows=(
        Row(name="Baseline", method=Supervised.Config()),
        Row(name="Ind", method=Individual.Config(), in_column=DROPOUT),
        Row(name="DML", method=DML.Config(), in_column=DROPOUT),
        Row(name="CL-ILR", method=CLILR.Config(), in_column=DROPOUT),
        Row(name="ONE", method=ONE.Config(), in_column=DROPOUT),
        Row(
            name="OKDDip",
            method=OKDDip.Config(),
            in_column=DROPOUT,
            published=("OKDDip", "OKDDip (branch-based)"),
        ),
        Row(
            name="OKDDip, whole networks", method=OKDDip.Config(shared_trunk=False), columns=("ResNet-32", "ResNet-110")
        ),
        Row(name="OKDDip, no leader", method=OKDDip.Config(leader=False), in_column=DROPOUT),
    ),
    columns=(
        Column(
            name="ResNet-32",
            recipe=resnet32,
            published=Quotes(dataset="CIFAR-100", teacher="branches", student="resnet32"),
        ),
        Column(
            name="ResNet-110",
            recipe=replace(resnet32, student=Network(name="okddip_resnet110")),
            published=Quotes(dataset="CIFAR-100", teacher="peers", student="resnet110"),
        ),
        Column(name="VGG-16", recipe=replace(resnet32, student=Network(name="okddip_vgg16"))),
        Column(name="DenseNet-40-12", recipe=replace(resnet32, student=Network(name="densenet_bc_40_12"))),
        Column(name="WRN-20-8", recipe=replace(resnet32, student=Network(name="okddip_wide_resnet20_8"))),
    ),
    baseline="Baseline",
    published=("published/okddip.csv",),
)
