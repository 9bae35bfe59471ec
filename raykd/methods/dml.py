"""Deep Mutual Learning (Zhang et al., CVPR 2018), as OKDDip's code (Chen et al. 2020) runs it.

Whole networks learn from the labels and from each other: one loss over all of them, nothing detached, no ramp-up.
The paper updates the networks in turn with constant targets; OKDDip's joint loss is what its tables compare.
Deviation: that code adds 1e-7 to the targets' probabilities; this KL is clean. Its default is `ensemble_first`;
the paper's own form, each network against each other one, is the default here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Annotated

import torch
from torch import Tensor

from raykd.contract import Batch, Output, Step
from raykd.fields import Interval, Positive
from raykd.losses import full_precision
from raykd.methods.base.peers import (
    WHOLE,
    Loss,
    PeerConfig,
    PeerDistiller,
    diversity,
    peer_cross_entropy,
    peer_divergence,
    stack_logits,
)
from raykd.methods.base.student import accuracy
from raykd.methods.cl_ilr import mean_of_others
from raykd.models.staged import Staged


def dml_loss(
    peers: Tensor, labels: Tensor, temperature: float, ensemble_first: bool = False, loss: Loss = "kl"
) -> dict[str, Tensor]:
    """Σ CE(z_i) and Σ_i 1/(m−1) Σ_{j≠i} T² KL(z_j ‖ z_i), or the KL from the mean of the others' logits.

    peers [m, B, C], labels [B] or [B, C].
    """
    peers = full_precision(peers)
    if ensemble_first:
        divergence = peer_divergence(peers, mean_of_others(peers), temperature, loss)
    else:
        pairs = list(permutations(range(len(peers)), 2))
        students, teachers = (torch.stack([peers[pair[side]] for pair in pairs]) for side in (0, 1))
        divergence = peer_divergence(students, teachers, temperature, loss) / (len(peers) - 1)
    return {"ce": peer_cross_entropy(peers, labels), "kd": divergence}


class DML(PeerDistiller):
    """Trains several whole networks together that learn from each other."""

    @dataclass(frozen=True, kw_only=True)
    class Config(PeerConfig):
        networks: Annotated[int, Interval(ge=2, le=64)] = 2
        """Number of whole networks; network0 is deployed."""
        temperature: Positive = 3.0
        """Temperature T of both softmaxes (OKDDip's 3; the original paper has none, that is 1)."""
        ensemble_first: bool = False
        """True: learn from the mean of the others' logits; False: from each of the others."""
        loss: Loss = "kl"
        """The divergence: kl, or the cross-entropy with the softened target, which also gets gradients."""

        def build_networks(self, new_student: Callable[[], Staged]) -> tuple[list[Staged], str]:
            return self.build_peers(new_student, "networks"), WHOLE

    config: Config

    def forward(self, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        c = self.config
        logits = stack_logits(self.outputs(batch.images))
        terms = dml_loss(logits, batch.labels, c.temperature, c.ensemble_first, c.loss)
        notes = {"train_top1": accuracy(logits[0], batch.labels), "diversity": diversity(logits.detach())}
        return Step(terms, notes)
