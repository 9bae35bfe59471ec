"""A custom metric: the Brier score, in evaluations, reports and searches like the built-in ones.

raykd train own_metric.py
"""

from dataclasses import dataclass, replace

import torch.nn.functional as F
from torch import Tensor

from raykd.metric import Metric
from raykd.recipes.digits.supervised import recipe as digits


@dataclass(frozen=True, kw_only=True)
class Brier(Metric):
    """Squared distance of the probabilities from the label's."""

    name: str = "brier"
    format: str = ".3f"

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (logits.softmax(1) - F.one_hot(labels, logits.shape[1])).square().sum(1)


recipe = replace(digits, metrics=(Brier(),))
