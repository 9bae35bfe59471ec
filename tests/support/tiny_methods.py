"""Tiny networks and batches for tests of methods: four stages, no BatchNorm in the network itself."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from raykd.contract import Batch, Distiller, Output, Step
from raykd.method import MethodConfig
from raykd.methods.ab import AB
from raykd.methods.aekd import AEKD, Agreement
from raykd.methods.at import AT
from raykd.methods.aver_mkd import AverMKD
from raykd.methods.base.multi_teacher import MultiTeacher
from raykd.methods.ca_mkd import CAMKD, Confidence, Embeddings
from raykd.methods.cc import CC
from raykd.methods.cl_ilr import CLILR
from raykd.methods.crd import CRD
from raykd.methods.ctkd import CTKD
from raykd.methods.deit import DeiT
from raykd.methods.dist import DIST
from raykd.methods.dkd import DKD
from raykd.methods.dml import DML
from raykd.methods.ebkd import EBKD, Entropy
from raykd.methods.feature_match import FeatureMatch
from raykd.methods.fitnet_mkd import AgreeingHints, FitNetMKD, Hints
from raykd.methods.fsp import FSP
from raykd.methods.ft import FT
from raykd.methods.funmatch import FunMatch
from raykd.methods.ickd import ICKD
from raykd.methods.individual import Individual
from raykd.methods.kd import KD
from raykd.methods.kdsvd import KDSVD
from raykd.methods.linear_probe import LinearProbe
from raykd.methods.mgd import MGD
from raykd.methods.nkd import NKD
from raykd.methods.nst import NST
from raykd.methods.ofa import OFA
from raykd.methods.ofd import OFD
from raykd.methods.okddip import OKDDip
from raykd.methods.one import ONE
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
from raykd.methods.teskd import TESKD
from raykd.methods.ttm import TTM
from raykd.methods.vid import VID
from raykd.methods.wsld import WSLD
from raykd.models.staged import Parts, Staged
from tests.support import every_method

SIZE, CLASSES = 16, 5

EVERY: dict[str, MethodConfig] = {
    "supervised": Supervised.Config(),
    "kd": KD.Config(),
    "kd standardised": KD.Config(standardize=True, temperature=2.0, alpha=9.0),
    "dkd": DKD.Config(warm_up_epochs=0.0),
    "dkd standardised": DKD.Config(standardize=True, temperature=2.0),
    "dist": DIST.Config(temperature=4.0),
    "wsld": WSLD.Config(),
    "nkd": NKD.Config(),
    "ttm": TTM.Config(weighted=False),
    "wttm": TTM.Config(),
    "deit": DeiT.Config(),
    "deit soft": DeiT.Config(temperature=3.0),
    "ctkd": CTKD.Config(),
    "ctkd of dkd": CTKD.Config(method=DKD.Config(temperature=4.0)),
    "sdd": SDD.Config(),
    "sdd of nkd": SDD.Config(method=NKD.Config(), scales=(1, 2)),
    "ofa": OFA.Config(),
    "reviewkd": ReviewKD.Config(),
    "semckd": SemCKD.Config(batch=8),
    "ofd": OFD.Config(beta=0.1),
    "simkd": SimKD.Config(),
    "srrl": SRRL.Config(),
    "srrl pooled": SRRL.Config(pooled=True),
    "ickd": ICKD.Config(),
    "mgd": MGD.Config(alpha=0.1),
    "mgd of pixels": MGD.Config(alpha=0.1, mask="pixel", share=0.65),
    "at": AT.Config(),
    "sp": SP.Config(),
    "cc": CC.Config(),
    "pkt": PKT.Config(),
    "rkd": RKD.Config(),
    "nst": NST.Config(),
    "vid": VID.Config(),
    "kdsvd": KDSVD.Config(),
    "crd": CRD.Config(negatives=9),
    "crd of halves": CRD.Config(negatives=9, memory="float16"),
    "fsp": FSP.Config(),
    "fsp initialising": FSP.Config(),
    "ab": AB.Config(),
    "ab initialising": AB.Config(),
    "ft": FT.Config(),
    "ft initialising": FT.Config(),
    "sum": Sum.Config(methods=(Supervised.Config(), KD.Config(), DIST.Config()), weights=(0.5, 1.0, 2.0)),
    "sum with crd": Sum.Config(methods=(KD.Config(), CRD.Config(negatives=9, gamma=0.0)), weights=(1.0, 1.0)),
    "sum with ab": Sum.Config(methods=(KD.Config(), AB.Config(gamma=0.0)), weights=(1.0, 1.0)),
    "sum with ab initialising": Sum.Config(methods=(KD.Config(), AB.Config(gamma=0.0)), weights=(1.0, 1.0)),
    "sum of two kd": Sum.Config(methods=(KD.Config(), KD.Config(temperature=2.0)), weights=(1.0, 0.5)),
    "sum with exits": Sum.Config(methods=(OFA.Config(), CTKD.Config()), weights=(1.0, 0.5)),
    "sum over teachers": Sum.Config(
        methods=(FitNetMKD.Config(logits_only_epochs=0), EBKD.Config()), weights=(0.5, 0.5)
    ),
    "funmatch": FunMatch.Config(temperature=2.0),
    "aver_mkd": AverMKD.Config(),
    "fitnet_mkd": FitNetMKD.Config(),
    "ebkd": EBKD.Config(),
    "aekd": AEKD.Config(),
    "aekd normalised": AEKD.Config(normalize=True),
    "ca_mkd": CAMKD.Config(),
    "multi_teacher hints": MultiTeacher.Config(logits=Confidence(), features=Hints(stage="stem")),
    "multi_teacher agreeing hints": MultiTeacher.Config(logits=Entropy(), features=AgreeingHints(stage="stage3")),
    "multi_teacher embeddings": MultiTeacher.Config(
        logits=Agreement(), features=Embeddings(convs=True, factor=4), fade_from=20.0, fade_epochs=50.0
    ),
    "okddip": OKDDip.Config(),
    "okddip without leader": OKDDip.Config(leader=False, branches=3),
    "okddip of networks": OKDDip.Config(shared_trunk=False, branches=3),
    "okddip from stage2": OKDDip.Config(branch_from="stage2"),
    "one": ONE.Config(),
    "cl_ilr": CLILR.Config(),
    "individual": Individual.Config(),
    "dml": DML.Config(),
    "dml ensemble first": DML.Config(networks=3, ensemble_first=True),
    "teskd": TESKD.Config(),
}
APART = (FeatureMatch.Config, LinearProbe.Config)  # they train a part of the student: see test_feature_match
HERE = (*APART, *(type(config) for config in EVERY.values()))
EVERY |= {name: config for name, config in every_method.configs().items() if type(config) not in HERE}  # new ones


class Net(nn.Module):
    """Four strided convolutions and a linear head; `width` and `first_stride` make networks of different shapes."""

    def __init__(self, width: int, first_stride: int, classes: int):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        strides = (first_stride, 2, 2, 1)
        self.blocks = nn.ModuleList(nn.Conv2d(width, width, 3, stride=s, padding=1) for s in strides)
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = bend(block(x))
        return self.fc(pooled(x))


def bend(x: Tensor) -> Tensor:
    return torch.nn.functional.softplus(x)


def pooled(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def tiny(width: int = 8, first_stride: int = 1, classes: int = CLASSES, stages: int = 4) -> Staged:
    net = Net(width, first_stride, classes)
    groups = [[f"blocks.{i}", bend] for i in range(4)]
    if stages == 3:
        groups = [groups[0], groups[1], groups[2] + groups[3]]
    sections = {"stem": ["stem"], "stages": groups, "pool": [pooled], "head": ["fc"]}
    pre = {f"stage{i + 1}": () for i in range(4)}  # the maps themselves
    return Staged(Parts(net, **sections, pre=pre), name="tiny", num_classes=classes, image_size=SIZE)


def new_tiny() -> Staged:
    """A student with a BatchNorm-free network whose maps are 16, 8, 4, 4 pixels high."""
    return tiny()


def teachers_for(name: str) -> list[Staged]:
    """Frozen teachers of other widths and map sizes, as many as the case takes; reproducible."""
    if not EVERY[name].uses_teachers:
        return []
    torch.manual_seed(90)
    made = [tiny(width=6), tiny(width=8, first_stride=2), tiny(width=10)]
    for network in made:
        network.double().eval().requires_grad_(False)
    several = EVERY[name].kind == "several teachers" or name in ("funmatch", "sum over teachers")
    if name.split()[0] in ("fsp", "kdsvd"):  # which need maps as wide as the student's
        return made[1:2]
    return made if several else made[:1]


def distiller_for(
    name: str, teachers: Sequence[Staged], new_student: Callable[[], Staged] = new_tiny, batch: int = 0
) -> Distiller:
    """batch: the recipe's batch size; 0: a method that needs it has its own."""
    torch.manual_seed(7)
    config = EVERY[name].with_batch_size(batch) if batch else EVERY[name]
    distiller = config.build(new_student, teachers)
    distiller.initialising = name.endswith("initialising")
    distiller.set_training_labels(torch.arange(16) % CLASSES)
    return distiller


def data(batch: int, seed: int = 1) -> Batch:
    torch.manual_seed(seed)
    images = torch.randn(batch, 3, SIZE, SIZE, dtype=torch.float64)
    return Batch(images, torch.randint(CLASSES, (batch,)), torch.arange(batch))


@torch.no_grad()
def outputs_of(distiller: Distiller, teachers: Sequence[Staged], images: Tensor) -> list[Output]:
    wanted = distiller.teacher_features
    return [teacher.output(images, names) for teacher, names in zip(teachers, wanted, strict=True)]


def run(distiller: Distiller, teachers: Sequence[Staged], batch: Batch, epoch: float = 40.0) -> Step:
    return distiller(batch, outputs_of(distiller, teachers, batch.images), epoch)
