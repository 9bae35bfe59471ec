"""Ensemble predictions: mean of probabilities, and majority vote. K members, B batch, C classes."""

from collections.abc import Callable, Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from raykd.contract import Batch
from raykd.losses import full_precision
from raykd.teachers.precision import Context
from raykd.training.evaluation.evaluate import Figures, evaluate


def mean_of_probabilities(logits: Tensor) -> Tensor:
    """Log of the members' mean probabilities: [K, B, C] → [B, C], logits of the ensemble."""
    return (
        torch.logsumexp(F.log_softmax(full_precision(logits), dim=-1), dim=0) - torch.tensor(float(len(logits))).log()
    )


def votes(logits: Tensor) -> Tensor:
    """Votes for each class; ties go to the class with the higher mean probability: [K, B, C] → [B, C]."""
    counted = F.one_hot(logits.argmax(-1), logits.shape[-1]).sum(0)
    return counted + 0.5 * mean_of_probabilities(logits).exp()


def combined(members: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Logits [B, C] of the "mean" and the "vote" of several members; empty for a single one."""
    if len(members) < 2:
        return {}
    stacked = torch.stack([full_precision(logits) for logits in members.values()])
    return {"mean": mean_of_probabilities(stacked), "vote": votes(stacked)}


def scores(figures: Mapping[str, Figures]) -> dict[str, dict[str, float]]:
    """top1, top5 and loss of each network by name; only top1 for the "vote", as votes are not probabilities."""
    shown = {name: {"top1": f.top1, "top5": f.top5, "loss": f.loss} for name, f in figures.items()}
    return shown | ({"vote": {"top1": figures["vote"].top1}} if "vote" in figures else {})


def evaluate_members(
    networks: Mapping[str, Callable[[Tensor], Tensor]], batches: Iterable[Batch], autocast: Context
) -> dict[str, dict[str, float]]:
    """`scores` of every member, and of their ensembles if there are several."""

    def predict(images: Tensor) -> dict[str, Tensor]:
        members = {name: network(images) for name, network in networks.items()}
        return members | combined(members)

    return scores(evaluate(predict, batches, autocast, {})[0])
