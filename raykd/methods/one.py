"""Knowledge Distillation by On-the-Fly Native Ensemble (Lan et al., NeurIPS 2018), as compared in OKDDip.

A gate on the trunk's pooled output combines the branches' logits to an ensemble that is trained by the labels and
teaches every branch: Σ CE(z_i) + CE(z_E) + weight · Σ T² KL(z_E ‖ z_i). Nothing is detached.
Deviations: the pool before the gate is global, where OKDDip's code pools 16×16 (the same on its map); that code adds
1e-7 to the target's probabilities, this KL is clean. The gate's BatchNorm takes its statistics from the batch like any
other: with several workers they are global only with SyncBatchNorm, and a batch of one sample can't be trained on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from raykd.contract import Batch, Output, Step
from raykd.losses import cross_entropy, full_precision
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
from raykd.models.staged import Staged


def gated_ensemble(branches: Tensor, gates: Tensor) -> Tensor:
    """Σ_i gate_i z_i: [m, B, C] and [B, m] → [B, C]."""
    return (full_precision(branches) * full_precision(gates).t().unsqueeze(-1)).sum(0)


def one_loss(
    branches: Tensor, gates: Tensor, labels: Tensor, temperature: float, weight: float, loss: Loss = "kl"
) -> dict[str, Tensor]:
    """Terms "ce" of the branches, "ensemble_ce", "kd" (weighted); branches [m, B, C], gates [B, m]."""
    branches = full_precision(branches)
    ensemble = gated_ensemble(branches, gates)
    return {
        "ce": peer_cross_entropy(branches, labels),
        "ensemble_ce": cross_entropy(ensemble, labels),
        "kd": weight * peer_divergence(branches, ensemble.expand_as(branches), temperature, loss),
    }


class Gate(nn.Module):
    """softmax(ReLU(BN(Linear(global average)))): a trunk's map [B, D, h, w] → weights of m branches [B, m]."""

    def __init__(self, width: int, branches: int):
        super().__init__()
        self.linear = nn.Linear(width, branches)
        self.norm = nn.BatchNorm1d(branches)

    def forward(self, trunk: Tensor) -> Tensor:
        return F.softmax(full_precision(F.relu(self.norm(self.linear(trunk.mean((2, 3)))))), dim=1)


class ONE(PeerDistiller):
    """Trains branches with a shared trunk that learn from their gated ensemble."""

    @dataclass(frozen=True, kw_only=True)
    class Config(BranchConfig, ConsistencyConfig):
        pass

    config: Config

    def __init__(self, config: Config, networks: Sequence[Staged], start: str):
        super().__init__(config, networks, start)
        features = list(networks[0].shapes)
        self.gate = Gate(networks[0].width(features[features.index(start) - 1]), len(networks))

    def forward(self, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        c = self.config
        logits, gates = self._gated(batch.images)
        weight = c.weight(epoch)
        notes = {
            "train_top1": accuracy(logits[0], batch.labels),
            "kd_weight": scalar_note(weight, logits),
            "gates": gates.detach().mean(0),
            "diversity": diversity(logits.detach()),
        }
        return Step(one_loss(logits, gates, batch.labels, c.temperature, weight, c.loss), notes)

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Logits [B, C] of every branch, of the "ensemble" by their mean, and of the "gated" ensemble that teaches."""
        logits, gates = self._gated(images)
        ensembles = {"ensemble": logits.mean(0), "gated": gated_ensemble(logits, gates)}
        return dict(zip(self.names, logits, strict=True)) | ensembles

    def _gated(self, images: Tensor) -> tuple[Tensor, Tensor]:
        trunk = self.branches[0].trunk(images, self.start)
        logits = stack_logits(self.outputs_from(trunk))
        return logits, self.gate(trunk)
