"""raykd: knowledge distillation of image classifiers on Ray.

What a recipe is made of, and functions that train, search, compare and deploy, all from `import raykd`; each is
imported when it is first used.
"""

import os
from importlib import import_module
from typing import Any

# Batches and activations come and go by the megabyte; in pages of 4 KiB, Linux takes longer to hand them out than the
# loader to fill them. torch reads this at its first allocation.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__version__ = "0.1.0"


class UserError(Exception):
    """The user's input is wrong: one line that says what and what to do; the command line ends with status 2."""


# Module → the names that are had from here; `__init__.pyi` says the same to type checkers.
OFFERED = {
    "raykd.api.evaluation": "Evaluated evaluate",
    "raykd.api.export": "export",
    "raykd.api.recipes": "load_recipe",
    "raykd.api.report": "report",
    "raykd.api.run": "Run load",
    "raykd.api.search": "SearchResult",
    "raykd.api.starting.job": "Submitted",
    "raykd.api.starting.study": "StudyResult study",
    "raykd.api.starting.submit": "submit",
    "raykd.api.starting.train": "train train_teachers",
    "raykd.api.starting.tune": "tune",
    "raykd.launch.cluster.failure": "RunFailed",
    "raykd.data.config": "Data Encoding Mixing Source Transform",
    "raykd.data.mixing": "CutMix Mixup",
    "raykd.data.sources": "Beton CIFAR10 CIFAR100 CUB200 Digits FewLabels Flowers102 Food101 HuggingFace "
    "ImageFolder ImageNet Images MIT67 Mixed Npz Pet37 Stanford40 StanfordDogs TFRecord Table "
    "TinyImageNet Torchvision WebDataset",
    "raykd.data.transforms": "CenterCrop ColorJitter Cutout Flip RandAugment RandomCrop RandomResizedCrop Resize",
    "raykd.method": "MethodConfig",
    "raykd.methods.ab": "AB",
    "raykd.methods.aekd": "AEKD",
    "raykd.methods.at": "AT",
    "raykd.methods.aver_mkd": "AverMKD",
    "raykd.methods.base.multi_teacher": "MultiTeacher",
    "raykd.methods.ca_mkd": "CAMKD",
    "raykd.methods.cc": "CC",
    "raykd.methods.cl_ilr": "CLILR",
    "raykd.methods.crd": "CRD",
    "raykd.methods.ctkd": "CTKD",
    "raykd.methods.deit": "DeiT",
    "raykd.methods.dist": "DIST",
    "raykd.methods.dkd": "DKD",
    "raykd.methods.dml": "DML",
    "raykd.methods.ebkd": "EBKD",
    "raykd.methods.feature_match": "FeatureMatch",
    "raykd.methods.fitnet_mkd": "FitNetMKD",
    "raykd.methods.fsp": "FSP",
    "raykd.methods.ft": "FT",
    "raykd.methods.funmatch": "FunMatch",
    "raykd.methods.ickd": "ICKD",
    "raykd.methods.individual": "Individual",
    "raykd.methods.kd": "KD",
    "raykd.methods.kdsvd": "KDSVD",
    "raykd.methods.linear_probe": "LinearProbe",
    "raykd.methods.mgd": "MGD",
    "raykd.methods.nkd": "NKD",
    "raykd.methods.nst": "NST",
    "raykd.methods.ofa": "OFA",
    "raykd.methods.ofd": "OFD",
    "raykd.methods.okddip": "OKDDip",
    "raykd.methods.one": "ONE",
    "raykd.methods.pkt": "PKT",
    "raykd.methods.reviewkd": "ReviewKD",
    "raykd.methods.rkd": "RKD",
    "raykd.methods.sdd": "SDD",
    "raykd.methods.semckd": "SemCKD",
    "raykd.methods.simkd": "SimKD",
    "raykd.methods.sp": "SP",
    "raykd.methods.srrl": "SRRL",
    "raykd.methods.sum": "Sum",
    "raykd.methods.supervised": "Supervised",
    "raykd.methods.teskd": "TESKD",
    "raykd.methods.ttm": "TTM",
    "raykd.methods.vid": "VID",
    "raykd.methods.wsld": "WSLD",
    "raykd.metric": "Metric",
    "raykd.models.config": "Network",
    "raykd.recipe": "AdamW Checkpoint Cosine Debug Initialise Optimizer Piecewise Precision Pretrained Published "
    "Recipe SGD Schedule Search Shampoo Simplex Steps Teacher Teachers Train WandB When",
    "raykd.recipe.changes": "change",
    "raykd.recipe.study": "Column Quotes Row Study",
}
HOMES = {name: module for module, names in OFFERED.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'raykd' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})
