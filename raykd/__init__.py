"""raykd: knowledge distillation of image classifiers on Ray.

`import raykd` offers the classes that recipes consist of, and functions that train, search, compare and deploy. Each
name is imported when it is first used.
"""

import os
from importlib import import_module
from typing import Any

# Makes torch allocate tensors in huge pages: with pages of 4 KiB, page faults take longer than filling a batch. torch
# reads this at its first allocation.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__version__ = "0.1.0"


class UserError(Exception):
    """Invalid input, in one line that says what is wrong and how to fix it; the command line exits with status 2."""


# Module → the names that `import raykd` offers; `__init__.pyi` declares the same for type checkers.
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
    "raykd.launch.run_state.failure": "RunFailed",
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
    value = globals()[name] = getattr(import_module(HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})
