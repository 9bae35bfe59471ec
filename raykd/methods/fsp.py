"""A Gift from Knowledge Distillation: Fast Optimization, Network Minimization and Transfer Learning (Yim et al., CVPR
2017).

FSP: in the recipe's `initialise` phase, β · Σ over neighbouring maps (stem, stage 1, …) of the mean square difference
of the flow matrices, the mean over positions of the products of two maps' channels; then γ CE alone.
RepDistiller initialises for 30 epochs with weight 1 (its β of 50 plays no role, as the second phase has no such term).
Both networks' maps must have equally many channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from raykd.contract import Batch, Output, Step
from raykd.fields import NonNegative
from raykd.losses import cross_entropy, full_precision
from raykd.methods.base.feature_method import FeatureConfig, FeatureMethod
from raykd.methods.base.maps import pool_to_smaller


def flow(bottom: Tensor, top: Tensor) -> Tensor:
    """Mean over positions of the products of channels, [B, D, h, w] and [B, D', h', w'] → [B, D', D].

    The larger map is average-pooled to the size of the other.
    """
    bottom, top = (full_precision(x).flatten(2) for x in pool_to_smaller(bottom, top))
    with torch.autocast(top.device.type, enabled=False):  # which would multiply in half precision
        return top @ bottom.mT / top.shape[2]


def fsp_loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Sum over neighbouring maps of the flow matrices' mean square difference; [B, D, h, w], from bottom to top."""
    flows = [list(map(flow, maps[:-1], maps[1:])) for maps in (student, teacher)]
    return torch.stack([(s - t).square().mean() for s, t in zip(*flows, strict=True)]).sum()


class FSP(FeatureMethod):
    """Learns before the training how features change from stage to stage, then trains by labels alone."""

    reads, term = "stem and stages", "flow"
    equal_widths = True

    @dataclass(frozen=True, kw_only=True)
    class Config(FeatureConfig):
        kind = "features"
        initialises = True

        beta: NonNegative = 1.0
        """Weight of the flow matrices' distance, in the initialise phase."""

    config: Config

    @property
    def needs_teachers(self) -> bool:
        return self.initialising

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        if not self.initialising:
            return Step({"ce": self.config.gamma * cross_entropy(student.logits, batch.labels)}, {})
        maps = zip(*self.pairs(student, teachers), strict=True)
        return Step({"flow": self.config.beta * fsp_loss(*maps)}, {})
