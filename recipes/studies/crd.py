"""CRD's benchmark (Tian et al. 2020): every method on 7 pairs of similar and 6 of different networks, on CIFAR-100.

    raykd study studies/crd --dry-run
    raykd study studies/crd --rows Supervised KD DKD --columns "resnet32x4 → resnet8x4"
    raykd report runs/studies/crd

Settings of RepDistiller: 240 epochs, batch 64, SGD at 0.05 (0.01 for MobileNetV2 and ShuffleNets). Each method has its
published loss weights; those of DKD and ReviewKD differ between pairs, as in their authors' scripts. A method has only
the pairs that it can compare. Published figures next to the cells: `published/crd.csv`.

Cost: 3 seeds of every cell, 240 epochs each; six teachers, trained once. Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.ab import AB
from raykd.methods.at import AT
from raykd.methods.cc import CC
from raykd.methods.crd import CRD
from raykd.methods.ctkd import CTKD
from raykd.methods.dist import DIST
from raykd.methods.dkd import DKD
from raykd.methods.fitnet_mkd import FitNetMKD
from raykd.methods.fsp import FSP
from raykd.methods.ft import FT
from raykd.methods.ickd import ICKD
from raykd.methods.kd import KD
from raykd.methods.kdsvd import KDSVD
from raykd.methods.mgd import MGD
from raykd.methods.nkd import NKD
from raykd.methods.nst import NST
from raykd.methods.ofa import OFA
from raykd.methods.ofd import OFD
from raykd.methods.pkt import PKT
from raykd.methods.reviewkd import ReviewKD
from raykd.methods.rkd import RKD
from raykd.methods.sdd import SDD
from raykd.methods.semckd import SemCKD
from raykd.methods.simkd import SimKD
from raykd.methods.sp import SP
from raykd.methods.srrl import SRRL
from raykd.methods.sum import Sum
from raykd.methods.supervised import Supervised
from raykd.methods.ttm import TTM
from raykd.methods.vid import VID
from raykd.methods.wsld import WSLD
from raykd.models.config import Network
from raykd.recipe import SGD, Initialise, Recipe, Teachers, Train
from raykd.recipe.study import Column, Quotes, Row, Study
from raykd.recipes.cifar100.teacher_resnet32x4 import recipe as teacher

# Networks with different names in raykd and in the benchmark.
NETWORKS = {
    "ResNet50": "cifar_resnet50",
    "MobileNetV2": "mobilenetv2_half",
    "ShuffleNetV1": "shufflenetv1",
    "ShuffleNetV2": "shufflenetv2",
}
ALIKE = (
    ("wrn_40_2", "wrn_16_2"),
    ("wrn_40_2", "wrn_40_1"),
    ("resnet56", "resnet20"),
    ("resnet110", "resnet20"),
    ("resnet110", "resnet32"),
    ("resnet32x4", "resnet8x4"),
    ("vgg13", "vgg8"),
)
DIFFERENT = (
    ("vgg13", "MobileNetV2"),
    ("ResNet50", "MobileNetV2"),
    ("ResNet50", "vgg8"),
    ("resnet32x4", "ShuffleNetV1"),
    ("resnet32x4", "ShuffleNetV2"),
    ("wrn_40_2", "ShuffleNetV1"),
)
PAIRS = ALIKE + DIFFERENT


def network(name: str) -> Network:
    return Network(name=NETWORKS.get(name, name))


def pair(taught_by: str, student: str) -> Recipe:
    """The student's recipe, with its teacher."""
    small = student in ("MobileNetV2", "ShuffleNetV1", "ShuffleNetV2")
    return replace(
        teacher,
        student=network(student),
        optimizer=replace(teacher.optimizer, learning_rate=0.01 if small else 0.05),
        teachers=Teachers(sources=(Train(recipe=replace(teacher, student=network(taught_by), published=())),)),
        published=(),
    )


def named(taught_by: str, student: str) -> str:
    return f"{taught_by} → {student}"


def without(*pairs: tuple[str, str]) -> tuple[str, ...]:
    """The columns but some."""
    return tuple(named(*each) for each in PAIRS if each not in pairs)


def by_pair(field: str, values: dict[tuple[str, str], float]) -> dict[str, dict[str, float]]:
    return {named(*each): {field: value} for each, value in values.items()}


# Pairs whose maps have equally many channels, for methods that compare the maps themselves.
EQUAL_MAPS = tuple(named(*each) for each in ALIKE if each != ("wrn_40_2", "wrn_40_1"))
first = Initialise(epochs=30, optimizer=SGD(learning_rate=0.05, weight_decay=5e-4, nesterov=False))
paraphraser = replace(first, optimizer=replace(first.optimizer, learning_rate=0.01))

# DKD's β if it is not 8, as in its authors' settings.
DKD_BETA = {
    ("resnet56", "resnet20"): 2.0,
    ("resnet110", "resnet20"): 2.0,
    ("resnet110", "resnet32"): 2.0,
    ("wrn_40_2", "wrn_16_2"): 6.0,
    ("wrn_40_2", "wrn_40_1"): 6.0,
    ("vgg13", "vgg8"): 6.0,
    ("vgg13", "MobileNetV2"): 6.0,
}
# Pairs of networks whose heads read the mean of the last map, unlike MobileNetV2's.
MEAN_POOLED = without(("vgg13", "MobileNetV2"), ("ResNet50", "MobileNetV2"))

study = Study(
    rows=(
        Row(name="Supervised", method=Supervised.Config(), published=("student",)),
        Row(name="KD", method=KD.Config()),
        # RepDistiller's hints count from the first step, and without the divergence of the logits.
        Row(name="FitNet", method=FitNetMKD.Config(alpha=0.0, logits_only_epochs=0.0)),
        Row(name="AT", method=AT.Config()),
        Row(name="SP", method=SP.Config()),
        Row(name="CC", method=CC.Config()),
        Row(name="VID", method=VID.Config()),
        Row(name="RKD", method=RKD.Config()),
        Row(name="PKT", method=PKT.Config()),
        Row(
            name="AB",
            method=AB.Config(),
            changes={"initialise": first},
            columns=without(("resnet32x4", "ShuffleNetV2")),
        ),
        Row(name="FT", method=FT.Config(), changes={"initialise": paraphraser}),
        Row(name="FSP", method=FSP.Config(), changes={"initialise": first}, columns=EQUAL_MAPS),
        Row(name="NST", method=NST.Config()),
        Row(name="KDSVD", method=KDSVD.Config(), columns=EQUAL_MAPS),
        Row(name="CRD", method=CRD.Config()),
        Row(name="OFD", method=OFD.Config(), columns=without(("resnet32x4", "ShuffleNetV2"))),
        Row(
            name="ReviewKD",
            method=ReviewKD.Config(),
            in_column=by_pair(
                "method.weight",
                {
                    ("wrn_40_2", "wrn_16_2"): 5.0,
                    ("wrn_40_2", "wrn_40_1"): 5.0,
                    ("wrn_40_2", "ShuffleNetV1"): 5.0,
                    ("resnet32x4", "resnet8x4"): 5.0,
                    ("resnet32x4", "ShuffleNetV1"): 5.0,
                    ("resnet32x4", "ShuffleNetV2"): 8.0,
                    ("resnet56", "resnet20"): 0.6,
                },
            ),
        ),
        Row(name="SemCKD", method=SemCKD.Config()),
        Row(name="SimKD", method=SimKD.Config()),
        Row(name="SRRL", method=SRRL.Config()),
        Row(name="ICKD", method=ICKD.Config(), published=("ICKD-C(w/o KL)",)),
        Row(
            name="ICKD + KD",
            method=Sum.Config(methods=(ICKD.Config(), KD.Config(gamma=0.0, alpha=1.0)), weights=(1.0, 1.0)),
            published=("ICKD-C(Ours)",),
        ),
        Row(name="MGD", method=MGD.Config()),
        Row(
            name="DKD",
            method=DKD.Config(),
            in_column=by_pair("method.beta", DKD_BETA),
        ),
        Row(name="DIST", method=DIST.Config(beta=2.0, gamma=2.0, temperature=4.0)),
        Row(name="WSLD", method=WSLD.Config()),
        Row(name="CTKD", method=CTKD.Config(), published=("KD+CTKD", "CTKD")),
        Row(name="TTM", method=TTM.Config(weighted=False)),
        Row(name="WTTM", method=TTM.Config()),
        Row(name="NKD", method=NKD.Config()),
        Row(name="OFA", method=OFA.Config()),
        Row(name="SDD", method=SDD.Config(), columns=MEAN_POOLED, published=("SD-KD",)),
        Row(
            name="SDD, DKD",
            method=SDD.Config(method=DKD.Config()),
            columns=MEAN_POOLED,
            in_column={
                name: values for name, values in by_pair("method.method.beta", DKD_BETA).items() if name in MEAN_POOLED
            },
            published=("SD-DKD",),
        ),
        Row(name="SDD, NKD", method=SDD.Config(method=NKD.Config()), columns=MEAN_POOLED, published=("SD-NKD",)),
        Row(
            name="KD, standardised",
            method=KD.Config(standardize=True, temperature=2.0, alpha=9.0),
            published=("KD+LS",),
        ),
        # As with KD, 9 times the weights at temperature 2.
        Row(
            name="DKD, standardised",
            method=DKD.Config(standardize=True, temperature=2.0, alpha=9.0, beta=9 * 8.0),
            in_column=by_pair("method.beta", {each: 9 * beta for each, beta in DKD_BETA.items()}),
            published=("DKD+LS",),
        ),
    ),
    columns=tuple(
        Column(
            name=named(*each),
            recipe=pair(*each),
            published=Quotes(dataset="CIFAR-100", teacher=each[0], student=each[1]),
        )
        for each in PAIRS
    ),
    baseline="Supervised",
    seeds=(0, 1, 2),
    published=("published/crd.csv",),
)
