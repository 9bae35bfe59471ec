"""Branches that share the trunk and nothing else: the sum of their cross-entropies.

The baseline "Ind" of Online Knowledge Distillation with Diverse Peers (Chen et al., AAAI 2020): what sharing a trunk
alone does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from raykd.contract import Batch, Output, Step, expect_teachers
from raykd.methods.peers import (
    PeerConfig,
    PeerDistiller,
    build_peers,
    diversity,
    peer_cross_entropy,
    split_stage,
    stack_logits,
)
from raykd.models.staged import Staged


class Individual(PeerDistiller):
    @dataclass(frozen=True, kw_only=True)
    class Config(PeerConfig):
        kind = "online"

        branches: int = 4
        """Number of branches; branch0 is deployed."""
        branch_from: str = "last"
        """First stage that every branch has for itself: "last", or a stage's name such as "stage2"."""

        def build(self, new_student: Callable[[], Staged], teachers: Sequence[Staged]) -> "Individual":
            expect_teachers("individual", teachers, 0, 0)
            networks = build_peers("individual", new_student, self.branches, "branches")
            return Individual(self, networks, split_stage("individual", networks[0], self.branch_from))

    def forward(self, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        logits = stack_logits(self.ask(batch.images))
        return Step({"ce": peer_cross_entropy(logits, batch.labels)}, {"diversity": diversity(logits.detach())})
