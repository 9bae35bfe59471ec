"""Branches that share the trunk and nothing else: the sum of their cross-entropies.

The baseline "Ind" of Online Knowledge Distillation with Diverse Peers (Chen et al., AAAI 2020), which shows the effect
of sharing a trunk.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from raykd.contract import Batch, Output, Step
from raykd.methods.base.peers import BranchConfig, PeerDistiller, diversity, peer_cross_entropy, stack_logits
from raykd.methods.base.student import accuracy


class Individual(PeerDistiller):
    """Trains branches with a shared trunk by labels alone, as a baseline for methods in which they teach each other."""

    @dataclass(frozen=True, kw_only=True)
    class Config(BranchConfig):
        pass

    def forward(self, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        logits = stack_logits(self.outputs(batch.images))
        notes = {"train_top1": accuracy(logits[0], batch.labels), "diversity": diversity(logits.detach())}
        return Step({"ce": peer_cross_entropy(logits, batch.labels)}, notes)
