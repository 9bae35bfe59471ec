"""What several networks say together: the mean of their probabilities, their vote. K members, B batch, C classes."""

from collections.abc import Callable, Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from raykd.contract import Batch
from raykd.losses import full_precision
from raykd.train.evaluate import evaluate


def mean_of_probabilities(logits: Tensor) -> Tensor:
    """Log of the members' mean probabilities: [K, B, C] → [B, C], logits of the ensemble."""
    return (
        torch.logsumexp(F.log_softmax(full_precision(logits), dim=-1), dim=0) - torch.tensor(float(len(logits))).log()
    )


def votes(logits: Tensor) -> Tensor:
    """Votes for each class, a tie going to the class that is the more probable on average: [K, B, C] → [B, C]."""
    counted = F.one_hot(logits.argmax(-1), logits.shape[-1]).sum(0)
    return counted + 0.5 * mean_of_probabilities(logits).exp()


def evaluate_members(
    networks: Mapping[str, Callable[[Tensor], Tensor]], batches: Iterable[Batch], autocast: Callable
) -> dict[str, dict[str, float]]:
    """top1, top5 and loss of every member by name, of the "mean", and top1 of the "vote" (which has no loss)."""

    def predict(images: Tensor) -> dict[str, Tensor]:
        members = {name: network(images) for name, network in networks.items()}
        stacked = torch.stack([full_precision(logits) for logits in members.values()])
        return members | {"mean": mean_of_probabilities(stacked), "vote": votes(stacked)}

    found, _ = evaluate(predict, batches, autocast, {})
    shown = {name: {"top1": f.top1, "top5": f.top5, "loss": f.loss} for name, f in found.items()}
    return shown | {"vote": {"top1": found["vote"].top1}}
