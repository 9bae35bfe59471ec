"""Five SGD steps of whole methods, in float64, from parameters set by rule B, as in golden's 08_trajectories.

The original runs give the unweighted parts of the loss before each update, and logits after the last.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from raykd.contract import Batch, Distiller
from raykd.method import MethodConfig
from raykd.methods.aekd import AEKD
from raykd.methods.aver_mkd import AverMKD
from raykd.methods.ca_mkd import CAMKD
from raykd.methods.cl_ilr import CLILR
from raykd.methods.dml import DML
from raykd.methods.ebkd import EBKD
from raykd.methods.fitnet_mkd import FitNetMKD
from raykd.methods.individual import Individual
from raykd.methods.kd import KD
from raykd.methods.okddip import OKDDip
from raykd.methods.one import ONE
from raykd.methods.teskd import TESKD
from raykd.models import create
from raykd.models.staged import Staged
from tests.golden_rules import fill_rule_b, images, stream_offset
from tests.support.golden import Arrays, Row, relative

CLASSES, STEPS = 10, 5
RAMP_EPOCHS = (0.0, 20.0, 40.0, 60.0, 80.0)
FAMILY = (("resnet20x4", 90), ("resnet20x4", 91), ("wrn_16_2", 92))  # the teachers of CA-MKD's cases
# Golden's component → (our term, whether the ramp-up weights it)
OKDDIP = {"loss_true": "ce", "loss_group": "kd", "leader_ce": "leader_ce", "leader_kd": "leader_kd"}
MULTI = {"loss_cls": "ce", "loss_div": "kd"}


def network(name: str) -> Callable[[], Staged]:
    return lambda: create(name, num_classes=CLASSES, image_size=32)


def stream_of(name: str) -> int:
    """The stream of a distiller's parameter under rule B, by its dotted name."""
    part, _, rest = name.partition(".")
    if part == "branches":
        return int(rest.split(".")[0])
    if part == "features":
        return 60 + int(rest.split(".")[1])
    if part == "students":
        group, index = rest.split(".")[:2]
        return int(index) + (0 if group in ("laterals", "upsample") else 1)
    return {"query": 50, "key": 51}.get(part, 0)


@cache
def teacher(name: str, stream: int, batch: int, calibrated: bool, offset: int) -> Staged:
    """A frozen teacher; calibrated: its BN statistics are those of one separate batch."""
    made = network(name)()
    fill_rule_b(made, offset + stream)
    if calibrated:
        norms = [module for module in made.modules() if isinstance(module, _BatchNorm)]
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            made.train()(images(batch, 32, stream=offset + 30))
    return made.eval().requires_grad_(False)


def train(
    config: MethodConfig, student: str, teachers: Sequence[Staged], batch: int, epochs: Sequence[float], offset: int
) -> tuple[Distiller, dict[str, Tensor]]:
    """The distiller after a step at each of the epochs, and the terms of each step [steps]."""
    distiller = config.build(network(student), teachers)
    fill_rule_b(distiller, lambda name: offset + stream_of(name))
    distiller.train()
    sgd = torch.optim.SGD(distiller.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    history = []
    for k, epoch in enumerate(epochs):
        labels = (7 * torch.arange(batch) + 3 * k) % CLASSES
        data = Batch(images(batch, 32, stream=offset + 20 + k), labels, torch.arange(batch))
        with torch.no_grad():
            outputs = [t.output(data.images, names) for t, names in zip(teachers, distiller.teacher_features)]
        step = distiller(data, outputs, epoch)
        sgd.zero_grad()
        sum(step.terms.values()).backward()
        sgd.step()
        history.append({name: value.detach() for name, value in step.terms.items()})
    terms = {name: torch.stack([step[name] for step in history]) for name in history[0]}
    return distiller.eval(), terms


CASES: dict[str, tuple[MethodConfig, str, dict[str, str]]] = {
    "okddip": (OKDDip.Config(), "resnet32", OKDDIP),
    "okddip_net": (OKDDip.Config(branches=3, shared_trunk=False), "resnet32", OKDDIP),
    "one": (ONE.Config(), "resnet32", {"loss_group": "kd"}),
    "cl_ilr": (CLILR.Config(), "resnet32", {"loss_true": "ce", "loss_group": "kd"}),
    "individual": (Individual.Config(), "resnet32", {"loss_true": "ce"}),
    "dml2_pairwise": (DML.Config(), "resnet32", {"loss_ce": "ce", "loss_kd": "kd"}),
    "dml2_ensemble_first": (DML.Config(ensemble_first=True), "resnet32", {"loss_ce": "ce", "loss_kd": "kd"}),
    "dml3_pairwise": (DML.Config(networks=3), "resnet32", {"loss_ce": "ce", "loss_kd": "kd"}),
    "dml3_ensemble_first": (
        DML.Config(networks=3, ensemble_first=True),
        "resnet32",
        {"loss_ce": "ce", "loss_kd": "kd"},
    ),
    "kd_cal": (KD.Config(gamma=1.0, alpha=1.0, temperature=3.0), "resnet32", {"loss_true": "ce", "loss_teacher": "kd"}),
    "ca_mkd_cal": (CAMKD.Config(), "resnet8x4", MULTI | {"loss_kd": "feature"}),
    "aver_mkd_cal": (AverMKD.Config(), "resnet8x4", MULTI),
    "ebkd_cal": (EBKD.Config(), "resnet8x4", MULTI),
    "aekd_cal": (AEKD.Config(), "resnet8x4", MULTI),
    "fitnet_mkd_cal": (FitNetMKD.Config(), "resnet8x4", MULTI | {"loss_kd": "feature"}),
    "teskd": (TESKD.Config(), "cifar_resnet18", {"loss_model": "ce", "loss_kd": "kd", "loss_fea": "feature"}),
}
SATURATED = ("kd", "ca_mkd", "aver_mkd", "ebkd", "aekd", "fitnet_mkd")  # the same, teachers not calibrated
CASES |= {name: CASES[f"{name}_cal"] for name in SATURATED}


def rows(arrays: Arrays, case: str, steps: int = STEPS) -> Iterator[Row]:
    """Differences of every part of the loss, of the total, and of the logits after the fifth step."""
    config, student, parts = CASES[case]
    batch = int(arrays[f"{case}/hp/B"])
    calibrated = case.endswith("_cal")
    names = (("resnet32", 90),) if case.startswith("kd") else FAMILY if config.uses_teachers else ()
    offset = stream_offset(arrays, case, "init")
    teachers = [teacher(name, stream, batch, calibrated, offset) for name, stream in names]
    ramped = f"{case}/hp/consistency_weight" in arrays
    epochs = RAMP_EPOCHS if ramped else (1.0,) * STEPS
    distiller, terms = train(config, student, teachers, batch, epochs[:steps], offset)
    weight = torch.from_numpy(np.array(arrays[f"{case}/hp/consistency_weight"])) if ramped else torch.ones(steps)
    yield Row(case, "5 steps", "loss", per_step(sum(terms.values()), arrays[f"{case}/loss/loss"]))
    for part, term in parts.items():
        ours = terms[term] / scale_of(config, term) / (weight if term.endswith("kd") else 1.0)
        yield Row(case, "5 steps", part, per_step(ours, arrays[f"{case}/loss/{part}"]))
    if steps == STEPS:
        yield from eval_rows(arrays, case, distiller, batch, offset)


def scale_of(config: MethodConfig, term: str) -> float:
    """The weight, in the method's Config, of a term that golden has unweighted."""
    if isinstance(config, TESKD.Config):
        return getattr(config, term)
    return config.beta if term == "feature" else 1.0


def per_step(ours: Tensor, golden: np.ndarray) -> float:
    golden = np.asarray(golden).reshape(STEPS)[: len(ours)]
    return float(np.max(np.abs(ours.numpy() - golden) / np.abs(golden)))


@torch.no_grad()
def eval_rows(arrays: Arrays, case: str, distiller: Distiller, batch: int, offset: int) -> Iterator[Row]:
    predicted = distiller.predict(images(batch, 32, stream=offset + 77))
    for name in ("logits", "x_stu"):
        if f"{case}/eval/{name}" in arrays:
            golden = arrays[f"{case}/eval/{name}"]
            first = golden[..., 0] if case.startswith("dml") else golden[0] if case == "teskd" else golden
            yield Row(case, "5 steps", f"eval {name}", relative(next(iter(predicted.values())), first))
    if f"{case}/eval/pro" in arrays:
        golden = arrays[f"{case}/eval/pro"]
        peers = torch.stack([predicted[name] for name in distiller.peers], dim=-1)
        yield Row(case, "5 steps", "eval pro", relative(peers, golden))
