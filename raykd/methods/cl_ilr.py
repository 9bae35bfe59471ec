"""Collaborative Learning for Deep Neural Networks (Song & Chai, NeurIPS 2018), as compared in OKDDip (AAAI 2020).

Branches from a stage on; the target of each is the mean of the others' logits; intermediate-level representation
sharing (ILR) divides the gradient that enters the shared trunk by the number of branches. Nothing is detached.
Deviation: OKDDip's code adds 1e-7 to the target's probabilities; this KL is clean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from raykd.contract import Batch, Output, Step
from raykd.losses import full_precision
from raykd.methods.base.peers import (
    BranchConfig,
    ConsistencyConfig,
    Loss,
    PeerDistiller,
    diversity,
    peer_cross_entropy,
    peer_divergence,
    scalar_note,
    stack_logits,
)
from raykd.methods.base.student import accuracy


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.scale, None


def scale_gradient(x: Tensor, scale: float) -> Tensor:
    """x, of any shape, with its gradient multiplied by `scale` in the backward pass."""
    scaled: Tensor = _ScaleGradient.apply(x, scale)
    return scaled


def mean_of_others(peers: Tensor) -> Tensor:
    """[m, B, C] → [m, B, C]: for each peer the mean of the others' logits."""
    others = [[logits for j, logits in enumerate(peers) if j != i] for i in range(len(peers))]
    return torch.stack([torch.stack(rest).mean(0) for rest in others])


def cl_ilr_loss(
    branches: Tensor, labels: Tensor, temperature: float, weight: float, loss: Loss = "kl"
) -> dict[str, Tensor]:
    """Σ CE(z_i) and weight · Σ T² KL(mean of the others ‖ z_i); branches [m, B, C], labels [B] or [B, C]."""
    branches = full_precision(branches)
    divergence = peer_divergence(branches, mean_of_others(branches), temperature, loss)
    return {"ce": peer_cross_entropy(branches, labels), "kd": weight * divergence}


class CLILR(PeerDistiller):
    """Trains branches with a shared trunk, each of which learns from the mean logits of the others."""

    @dataclass(frozen=True, kw_only=True)
    class Config(BranchConfig, ConsistencyConfig):
        pass

    config: Config

    def forward(self, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        c = self.config
        trunk = scale_gradient(self.branches[0].trunk(batch.images, self.start), 1 / len(self.branches))
        logits, weight = stack_logits(self.outputs_from(trunk)), c.weight(epoch)
        notes = {
            "train_top1": accuracy(logits[0], batch.labels),
            "kd_weight": scalar_note(weight, logits),
            "diversity": diversity(logits.detach()),
        }
        return Step(cl_ilr_loss(logits, batch.labels, c.temperature, weight, c.loss), notes)
