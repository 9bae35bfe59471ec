"""Evaluation: sums over samples and workers, so that every sample counts exactly once. B batch, C classes."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from raykd.contract import Batch, global_sum
from raykd.data.device.fetch import fetch
from raykd.data.device.transfer import to_device
from raykd.losses import full_precision, kl_divergence
from raykd.metric import Metric
from raykd.teachers.precision import Context
from raykd.training.evaluation.metrics import BUILT_IN, values, with_built_in
from raykd.training.update.nonfinite import NotFiniteError

BINS = 15  # bins of the expected calibration error, as in Guo et al. 2017


@dataclass(frozen=True)
class Figures:
    """A network's metrics on a split; accuracies in [0, 1]."""

    means: dict[str, float]  # by metric: top1, top5, loss, and the recipe's own
    ece: float
    per_class: list[float]
    per_class_count: list[int]
    calibration: list[tuple[int, float, float]]  # count, mean confidence, accuracy of each bin of confidence
    agreement: dict[str, dict[str, float]]  # by teacher: fraction of equal top-1 classes, mean KL(teacher ‖ network)

    @property
    def top1(self) -> float:
        return self.means["top1"]

    @property
    def top5(self) -> float:
        return self.means["top5"]

    @property
    def loss(self) -> float:
        return self.means["loss"]

    def line(self) -> dict[str, Any]:
        """The scalars only, in the format of metrics.jsonl."""
        return {**self.means, "ece": self.ece, "agreement": self.agreement}

    def full(self) -> dict[str, Any]:
        """Everything, in the format of evaluation.json."""
        by_class = {"per_class": self.per_class, "per_class_count": self.per_class_count}
        return {**self.line(), **by_class, "calibration": self.calibration}


def sums(logits: Tensor, labels: Tensor, teachers: Sequence[Tensor], metrics: Sequence[Metric] = BUILT_IN) -> Tensor:
    """Everything that an evaluation sums over samples, as one float64 vector; `figures` decodes it.

    [each metric, top1 the first, per class correct C, per class count C, bin counts, bin confidences, bin hits,
    per teacher agree, KL, samples with non-finite logits]. Such samples count as if all their logits were 0.
    """
    logits, classes = full_precision(logits), logits.shape[1]
    finite = logits.isfinite().all(1, keepdim=True)
    logits = torch.where(finite, logits, 0.0)
    by_metric = [values(metric, logits, labels) for metric in metrics]
    right = by_metric[0]
    confidence = F.softmax(logits, dim=1).amax(1).double()
    bins = (confidence * BINS).long().clamp_(max=BINS - 1)
    by_class = [_histogram(labels, right, classes), _histogram(labels, torch.ones_like(right), classes)]
    by_bin = [_histogram(bins, values, BINS) for values in (torch.ones_like(right), confidence, right)]
    agreement = [_agreement(logits, teacher) for teacher in teachers]
    return torch.cat([torch.stack(by_metric).sum(1), *by_class, *by_bin, *agreement, (~finite).double().sum()[None]])


def _histogram(positions: Tensor, values: Tensor, length: int) -> Tensor:
    return torch.zeros(length, dtype=torch.float64, device=values.device).index_add_(0, positions, values)


def _agreement(logits: Tensor, teacher: Tensor) -> Tensor:
    equal = (teacher.argmax(1) == logits.argmax(1)).double().sum()
    return torch.stack([equal, kl_divergence(logits, teacher, reduction="none").double().sum()])


def figures(total: Tensor, classes: int, teacher_names: Sequence[str], metrics: Sequence[Metric] = BUILT_IN) -> Figures:
    """Figures from the sums over the whole split; raises NotFiniteError if logits were NaN or infinite."""
    *added, broken = fetch(total)
    parts = iter(added)
    by_metric = list(itertools.islice(parts, len(metrics)))
    correct, count = (list(itertools.islice(parts, classes)) for _ in range(2))
    counts, confidences, hits = (list(itertools.islice(parts, BINS)) for _ in range(3))
    pairs = list(parts)
    samples = sum(count)
    if broken:
        raise NotFiniteError(f"the logits of {broken:.0f} of {samples:.0f} images are not finite (NaN or infinite)")
    bins = [(int(n), c / n if n else 0.0, h / n if n else 0.0) for n, c, h in zip(counts, confidences, hits)]
    return Figures(
        means={metric.name: value / samples for metric, value in zip(metrics, by_metric, strict=True)},
        ece=sum(abs(c - h) for c, h in zip(confidences, hits)) / samples,
        per_class=[c / n if n else 0.0 for c, n in zip(correct, count)],
        per_class_count=[int(n) for n in count],
        calibration=bins,
        agreement={
            name: {"top1": pairs[2 * i] / samples, "kl": pairs[2 * i + 1] / samples}
            for i, name in enumerate(teacher_names)
        },
    )


@torch.inference_mode()
def evaluate(
    predict: Callable[[Tensor], dict[str, Tensor]],
    batches: Iterable[Batch],
    autocast: Context,
    teacher_logits: Mapping[str, list[Tensor]],
    measure: Callable[[dict[str, Tensor]], dict[str, Tensor]] = lambda logits: {},
    metrics: Sequence[Metric] = (),
) -> tuple[dict[str, Figures], dict[str, float]]:
    """Figures over all workers' batches of every network that `predict` returns, and the means of `measure`.

    teacher_logits: each teacher's logits of the same batches in the same order (see `collect`).
    metrics: the recipe's own, in addition to the built-in ones.
    """
    totals: dict[str, Tensor] = {}
    measured: dict[str, Tensor] = {}
    classes, metrics = 0, with_built_in(metrics)
    for i, batch in enumerate(batches):
        with autocast():
            logits = predict(batch.images)
        logits = {name: full_precision(value) for name, value in logits.items()}
        classes = next(iter(logits.values())).shape[1]
        taught = [to_device(each[i], batch.labels.device) for each in teacher_logits.values()]
        for name, value in logits.items():
            _add(totals, name, sums(value, batch.labels, taught, metrics))
        for name, value in measure(logits).items():
            total = value.double().sum()
            _add(measured, name, torch.stack([total, torch.full_like(total, len(value))]))
    about = (classes, list(teacher_logits), metrics)
    figures_of = {name: _of(name, global_sum(total), *about) for name, total in totals.items()}
    means = {name: (lambda pair: pair[0] / pair[1])(fetch(global_sum(total))) for name, total in measured.items()}
    return figures_of, means


def _of(name: str, total: Tensor, classes: int, teacher_names: Sequence[str], metrics: Sequence[Metric]) -> Figures:
    try:
        return figures(total, classes, teacher_names, metrics)
    except NotFiniteError as error:
        raise NotFiniteError(f"evaluation of {name}: {error}") from None


def _add(totals: dict[str, Tensor], name: str, value: Tensor) -> None:
    totals[name] = totals[name] + value if name in totals else value


@torch.inference_mode()
def collect(network: Callable[[Tensor], Tensor], batches: Iterable[Batch], autocast: Context) -> list[Tensor]:
    """A frozen network's logits for every batch of this worker, on the CPU."""
    logits = []
    for batch in batches:
        with autocast():
            logits.append(full_precision(network(batch.images)).cpu())
    return logits
