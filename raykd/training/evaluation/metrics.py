"""The built-in metrics of every evaluation; a recipe's own follow them in one list. B batch, C classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from raykd import UserError
from raykd.losses import cross_entropy
from raykd.metric import Metric


@dataclass(frozen=True, kw_only=True)
class TopK(Metric):
    """Whether the label is among the k most probable classes, or among all classes if there are fewer."""

    k: int
    format: str = ".2%"

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        ranked = logits.topk(min(self.k, logits.shape[1])).indices
        return (ranked == labels[:, None]).any(1)


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Metric):
    """-log of the label's probability, in nats."""

    name: str = "loss"

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(logits, labels, "none")


BUILT_IN: tuple[Metric, ...] = (TopK(name="top1", k=1), TopK(name="top5", k=5), CrossEntropy())


def with_built_in(metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    """Every metric of an evaluation, built-in ones first."""
    return (*BUILT_IN, *metrics)


def values(metric: Metric, logits: Tensor, labels: Tensor) -> Tensor:
    """[B] float64 values of a metric; raises UserError if it returns something else."""
    scores = metric.per_sample(logits, labels)
    if not isinstance(scores, Tensor) or scores.shape != labels.shape:
        shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise UserError(
            f"metric {metric.name}: per_sample returns {shape} for {len(labels)} images; it must return one value per "
            "image"
        )
    return scores.to(torch.float64)
