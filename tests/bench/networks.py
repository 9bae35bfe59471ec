"""Which network works with which method: one step with the network as the student, and one as the teacher.

python -m tests.bench.networks [--rows FILE] [NAME …] prints the table of `raykd/models/README.md`. All families take
half an hour; with --rows, results are stored in FILE and not repeated.
"""

import argparse
import copy
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch

from raykd import UserError
from raykd.contract import Batch, Output
from raykd.method import MethodConfig
from raykd.methods.ca_mkd import CAMKD
from raykd.methods.crd import CRD
from raykd.methods.feature_match import FeatureMatch
from raykd.methods.fitnet_mkd import FitNetMKD
from raykd.methods.kd import KD
from raykd.methods.okddip import OKDDip
from raykd.methods.teskd import TESKD
from raykd.models import create
from raykd.models.frozen.freeze import freeze
from raykd.models.libraries import trusted
from raykd.models.staged import Staged
from tests.support.network_families import ELSEWHERE, LARGE, OPTIONS, OWN, SMALL, STAGES

METHODS = {
    "KD": KD.Config(),
    "FitNet-MKD": FitNetMKD.Config(),
    "CA-MKD": CAMKD.Config(),
    "CRD": CRD.Config(negatives=16),
    "feature_match": FeatureMatch.Config(),
    "TESKD": TESKD.Config(),
    "OKDDip": OKDDip.Config(branches=3),
    "OKDDip, whole": OKDDip.Config(branches=2, shared_trunk=False),
}
OTHER = "resnet8"  # the other network of a pair
CLASSES = 5
NETWORKS = {name: side for group in (SMALL | LARGE, ELSEWHERE) for name, side in sorted(group.items())}


def network_of(name: str) -> Staged:
    """One of NETWORKS with random weights."""
    trusted.allow({OWN.partition(":")[0]})
    return create(name, CLASSES, NETWORKS[name], options=OPTIONS.get(name, {}), stages=STAGES.get(name, ()))


def rows(names: Iterable[str], kept: Path | None = None) -> Iterator[dict[str, str]]:
    """One row for each network, from a file, or measured now and added to it."""
    known = {} if kept is None or not kept.exists() else {row["network"]: row for row in _lines(kept)}
    for name in names:
        made = known.get(name) or row(name)
        if kept is not None and name not in known:
            with open(kept, "a") as file:
                file.write(f"{json.dumps(made)}\n")
        yield made


def _lines(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def row(name: str) -> dict[str, str]:
    """A network's structure, and for each method "yes" or the error message."""
    network = network_of(name)
    kind = "chain" if network.is_chain else f"{len(network.stages)} stages" if network.stages else "no stages"
    return {"network": name, "structure": kind} | {method: cell(network, config) for method, config in METHODS.items()}


def cell(network: Staged, config: MethodConfig) -> str:
    """ "yes", or the error: as the student and, for methods with teachers, as the teacher."""
    other = create(OTHER, CLASSES, network.image_size)
    if not config.uses_teachers:
        return refusal(config, network, []) or "yes"
    count = 2 if isinstance(config, CAMKD.Config) else 1
    as_student = refusal(config, network, [other] * count)
    as_teacher = refusal(config, other, [network] * count)
    if as_student == as_teacher:
        return as_student or "yes"
    return "; ".join(f"as {role}: {why or 'yes'}" for role, why in (("student", as_student), ("teacher", as_teacher)))


def refusal(config: MethodConfig, student: Staged, teachers: Sequence[Staged]) -> str:
    """Run one step, forward and backward; returns the method's error message if it rejects the networks."""
    try:
        frozen = [freeze(copy.deepcopy(t)) for t in teachers]
        distiller = config.with_batch_size(3).build(lambda: copy.deepcopy(student), frozen)
    except UserError as error:
        return str(error)
    distiller.set_training_labels(torch.arange(CLASSES).repeat(8))
    size = student.image_size
    images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    frozen = distiller.teachers if hasattr(distiller, "teachers") else [freeze(copy.deepcopy(t)) for t in teachers]
    outputs = _outputs(frozen, distiller.teacher_features, images)
    step = distiller.train()(Batch(images, torch.tensor([0, 1, 2]), torch.arange(3)), outputs, 90.0)
    loss = torch.stack(list(step.terms.values())).sum()
    loss.backward()
    assert torch.isfinite(loss), f"{student.name}: {step.terms}"
    return ""


@torch.no_grad()
def _outputs(teachers: Sequence[Staged], features: Sequence[tuple[str, ...]], images: torch.Tensor) -> list[Output]:
    return [teacher.output(images, names) for teacher, names in zip(teachers, features, strict=True)]


def markdown(table: Iterator[dict[str, str]], say: Callable[[str], None]) -> None:
    """The table, with numbered error messages below it."""
    notes: list[str] = []
    for i, row in enumerate(table):
        if i == 0:
            say(f"| {' | '.join(row)} |\n|{' --- |' * len(row)}")
        say(f"| {' | '.join(_short(value, row['network'], notes) for value in row.values())} |")
    say("")
    for number, note in enumerate(notes, start=1):
        say(f"{number}. {note}")


def _short(value: str, network: str, notes: list[str]) -> str:
    if len(value) < 12 or value == network:
        return value
    note = value.replace(network, "NETWORK")
    if note not in notes:
        notes.append(note)
    return f"[{notes.index(note) + 1}]"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(NETWORKS))
    parser.add_argument("--rows", type=Path, help="a file of rows, which is continued")
    given = parser.parse_args()
    markdown(rows(given.names, given.rows), lambda line: print(line, flush=True))
