"""Writes the table of methods in raykd/methods/README.md: python -m tests.methods.readme

A method's inputs and trained parameters are read from the method, built for ResNet-32x4 → ResNet-8x4 on CIFAR-100. The
published accuracies in PUBLISHED are of that pair and data set unless stated otherwise. The accuracies on digits are
those of the study's table in recipes/README.md.
"""

import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from raykd.contract import Distiller
from raykd.method import KINDS
from raykd.models import create
from raykd.models.staged import Staged
from tests.documents.measured import START as DIGITS
from tests.support import every_method

ROOT = Path(__file__).parents[2]
FILE, MEASURED = ROOT / "raykd/methods/README.md", ROOT / "recipes/README.md"
START, END = "<!-- methods: written by python -m tests.methods.readme -->\n", "<!-- end of methods -->\n"
STUDENT, TEACHER = "resnet8x4", "resnet32x4"

# Accuracies in %, with their tables. CRD: Tian et al. 2020, RepDistiller's README.
PUBLISHED = {
    "Supervised": "72.50 (CRD's table)",
    "KD": "73.33 (CRD's table); with `standardize` 76.62 (Sun et al. 2024)",
    "DKD": "76.32 (Zhao et al. 2022); with `standardize` 77.01 (Sun et al. 2024)",
    "DIST": "76.31 (Huang et al. 2022)",
    "CTKD": "with KD 73.39 (Sun et al. 2024's table)",
    "TTM": "76.17, weighted 76.06 (Zheng & Yang 2024)",
    "WSLD": "ImageNet, ResNet-34 → 18: 72.04 (Zhou et al. 2021)",
    "NKD": "ImageNet, ResNet-34 → 18: 71.96 (Yang et al. 2023)",
    "SDD": "with KD 75.3 (its authors' scripts)",
    "DeiT": "ImageNet, DeiT-S, hard labels: 81.2 (Touvron et al. 2021)",
    "FunMatch": "ImageNet, BiT-R152x2 → ResNet-50: 82.8 (Beyer et al. 2022)",
    "FitNetMKD": "one teacher: 73.50 (CRD's table, FitNet)",
    "AT": "73.44 (CRD's table)",
    "SP": "72.94 (CRD's table)",
    "CC": "72.97 (CRD's table)",
    "VID": "73.09 (CRD's table)",
    "RKD": "71.90 (CRD's table)",
    "PKT": "73.64 (CRD's table)",
    "AB": "73.17 (CRD's table)",
    "FT": "72.86 (CRD's table)",
    "FSP": "72.62 (CRD's table)",
    "NST": "73.30 (CRD's table)",
    "CRD": "75.51 (CRD's table)",
    "ReviewKD": "75.63 (Sun et al. 2024's table)",
    "OFD": "74.95 (Sun et al. 2024's table)",
    "SemCKD": "with KD 76.23 (SimKD's table)",
    "SRRL": "with KD 75.39 (SimKD's table)",
    "SimKD": "78.08 (Chen et al. 2022)",
    "ICKD": "75.25, with KD 75.48 (its authors' README)",
    "MGD": "ImageNet, ResNet-34 → 18: 71.69 (Yang et al. 2022)",
    "OKDDip": "ResNet-32: 73.2 to 74.7 against 71.1 alone",
    "ONE": "ResNet-32: 73.8 to 74.3",
    "CLILR": "ResNet-32: 72.3 to 74.6",
    "DML": "ResNet-32: 73.7 to 75.1",
    "TESKD": "ResNet-18: 79.15 against 74.41 alone (Li et al. 2021)",
}


def table() -> str:
    """The methods by their source of knowledge, one row each."""
    lines: list[str] = []
    by_kind: dict[str, list[type[Distiller]]] = {kind: [] for kind in KINDS}
    for cls in every_method.classes():
        by_kind[cls.Config.kind].append(cls)
    for kind, classes in by_kind.items():
        if classes:
            lines += ["", f"### {kind.capitalize()}", "", HEAD, "| --- | --- | --- | --- | --- | --- |"]
            lines += [row(cls) for cls in classes]
    return "\n".join(lines[1:]) + "\n"


HEAD = (
    "| method | source | teacher outputs used | extra trained parameters | published top-1 % "
    "| top-1 % on digits: all labels; 10 a class |"
)


def row(cls: type[Distiller]) -> str:
    module = cls.__module__.removeprefix("raykd.methods.")
    distiller = built(cls)
    cells = [f"`{module}.{cls.__name__}`", paper(cls), reads(cls, distiller), adds(distiller)]
    return "| " + " | ".join([*cells, PUBLISHED.get(cls.__name__, ""), measured().get(cls.__name__, "")]) + " |"


@cache
def network(name: str) -> Staged:
    return create(name, 100, 32)


def built(cls: type[Distiller]) -> Distiller:
    """Built for the pair, or for the kind of student and teachers that the method requires."""
    case = every_method.case_of(cls.Config(), network, (STUDENT, "cifar_resnet18"), TEACHER)
    return case.build(lambda name: create(name, 100, 32), [network(name) for name in case.teachers])


def paper(cls: type[Distiller]) -> str:
    """The first sentence of the file: the paper's title, authors and venue, or what the method does."""
    text = " ".join(inspect.getmodule(cls).__doc__.split("\n\n")[0].split())
    return text.partition(". ")[0].rstrip(".:") if "et al." not in text else text.rstrip(".")


def reads(cls: type[Distiller], distiller: Distiller) -> str:
    if not cls.Config().uses_teachers:
        return "–"
    names = distiller.teacher_features[0]
    features = "" if not names else names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
    logits = "logits" if cls.Config().compares_classes and cls.Config.kind in ("logits", "several teachers") else ""
    return ", ".join(filter(None, (logits, features))) or "logits"


def adds(distiller: Distiller) -> str:
    """Numbers of trained parameters outside the students, by the module that has them."""
    own = [child for name, child in distiller.named_children() if name in ("student", "branches", "backbone")]
    students = {id(p) for module in own for p in module.parameters()}
    found = {}
    for name, child in distiller.named_children():
        count = sum(p.numel() for p in child.parameters() if id(p) not in students)
        if count:
            found[name] = count
    found |= {name: p.numel() for name, p in distiller.named_parameters(recurse=False)}
    return ", ".join(f"{name.replace('_', ' ')} ({count:,})" for name, count in found.items()) or "–"


@cache
def measured() -> dict[str, str]:
    """The first two figures of a row of the study on digits, by the method's class: the row AVER-MKD is AverMKD's."""
    names = {cls.__name__.lower(): cls.__name__ for cls in every_method.classes()}
    table = MEASURED.read_text(encoding="utf-8").partition(DIGITS)[2]
    figures: dict[str, str] = {}
    for name, *values in (line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")):
        key = re.sub(r"\W", "", name).lower()
        if key in names:
            figures[names[key]] = "; ".join([value.strip("*") for value in values if value != "–"][:2])
    return figures


def parts() -> Iterator[str]:
    """README before the table, the table as it is there, and what follows."""
    before, _, rest = FILE.read_text().partition(START)
    there, _, after = rest.partition(END)
    yield from (before, there, after)


if __name__ == "__main__":
    before, _, after = parts()
    FILE.write_text(before + START + table() + END + after)
