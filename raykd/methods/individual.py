"""Branches that share the trunk and nothing else: the sum of their cross-entropies.

The baseline "Ind" of Online Knowledge Distillation with Diverse Peers (Chen et al., AAAI 2020), which shows the effect
of sharing a trunk.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from raykd.contract import Batch, Output, Step, expect_teachers
from raykd.methods.base.peers import (
    BranchConfig,
    PeerDistiller,
    diversity,
    peer_cross_entropy,
    stack_logits,
)
from raykd.methods.base.student import accuracy
from raykd.models.staged import Staged


class Individual(PeerDistiller):
    """Trains branches with a shared trunk by labels alone, as a baseline for methods in which they teach each other."""

    @dataclass(frozen=True, kw_only=True)
    class Config(BranchConfig):
        def build(self, new_student: Callable[[], Staged], teachers: Sequence[Staged]) -> "Individual":
            expect_teachers("individual", teachers, 0, 0)
            return Individual(self, *self.build_branches("individual", new_student), self.share_block)

    def forward(self, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        logits = stack_logits(self.outputs(batch.images))
        notes = {"train_top1": accuracy(logits[0], batch.labels), "diversity": diversity(logits.detach())}
        return Step({"ce": peer_cross_entropy(logits, batch.labels)}, notes)
