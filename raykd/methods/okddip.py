"""Online Knowledge Distillation with Diverse Peers (Chen et al., AAAI 2020).

Every peer has its own target, an attention-weighted mix of all peers' logits; the group leader, which is deployed,
learns from the mean of the peers. Nothing is detached. Losses are sums over the peers.
With `leader=False` all students are peers and the ensemble is deployed.
Deviations: the authors' code adds 1e-7 to the targets' probabilities, this KL is clean; a width below 8, where their
D // 8 would be 0, attends in one dimension. In their DenseNets, the leader is the last
branch without its norm, and that branch remains one of the peers; here the leader is a branch like the others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raykd import UserError
from raykd.contract import Batch, Output, Step
from raykd.fields import Interval
from raykd.losses import cross_entropy, full_precision
from raykd.methods.base.peers import (
    WHOLE,
    BranchConfig,
    ConsistencyConfig,
    Ensemble,
    Loss,
    PeerDistiller,
    divergence,
    diversity,
    peer_cross_entropy,
    peer_divergence,
    scalar_note,
    stack_logits,
)
from raykd.methods.base.student import accuracy
from raykd.models.staged import Staged

__all__ = ["OKDDip", "attention", "diversity", "okddip_loss", "peer_targets"]


def attention(queries: Tensor, keys: Tensor) -> Tensor:
    """softmax_b(q_a · k_b): [p, B, d] twice → [p (a), p (b), B]."""
    # Products and sums, not a matmul: autocast would compute that in half precision.
    scores = (full_precision(queries).unsqueeze(1) * full_precision(keys).unsqueeze(0)).sum(-1)
    return F.softmax(scores, dim=1)


def peer_targets(logits: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
    """Target logits Σ_b att_ab z_b of each of p peers: [p, B, C], [p, B, d], [p, B, d] → [p, B, C]."""
    return (attention(queries, keys).unsqueeze(-1) * full_precision(logits).unsqueeze(0)).sum(1)


def okddip_loss(
    peers: Tensor,
    targets: Tensor,
    leader: Tensor | None,
    labels: Tensor,
    temperature: float,
    weight: float,
    loss: Loss = "kl",
) -> dict[str, Tensor]:
    """Terms "ce", "kd" of the peers and, with a leader, "leader_ce", "leader_kd"; both "kd" terms are weighted.

    peers, targets [p, B, C], leader [B, C] or None, labels [B] or [B, C]. weight: alpha times the ramp-up.
    """
    peers = full_precision(peers)
    terms = {
        "ce": peer_cross_entropy(peers, labels),
        "kd": weight * peer_divergence(peers, targets, temperature, loss),
    }
    if leader is None:
        return terms
    return terms | {
        "leader_ce": cross_entropy(leader, labels),
        "leader_kd": weight * divergence(leader, peers.mean(0), temperature, loss),
    }


class OKDDip(PeerDistiller):
    """Trains peers, each with its own attention-weighted target, and a leader that learns from their mean."""

    @dataclass(frozen=True, kw_only=True)
    class Config(BranchConfig, ConsistencyConfig):
        branches: Annotated[int, Interval(ge=2, le=64)] = 4
        """Number of students; the last one is the leader, unless `leader` is off."""
        shared_trunk: bool = True
        """True: one trunk with branches ("branch-based"); False: whole networks ("network-based")."""
        branch_from: str = "last"
        """With a shared trunk, the first stage that the branches do not share: "last", or a name such as "stage2"."""
        leader: bool = True
        """False: all students are peers, and their ensemble is evaluated and deployed."""

        def build_networks(self, new_student: Callable[[], Staged]) -> tuple[list[Staged], str]:
            """Branches, or whole networks; raises UserError for fields of branches without them."""
            if self.shared_trunk:
                return super().build_networks(new_student)
            for field in ("branch_from", "share_block"):
                if getattr(self, field) != getattr(BranchConfig, field):
                    raise UserError(f"`method.{field}` of okddip requires `method.shared_trunk`: change one of them")
            return self.build_peers(new_student, "branches"), WHOLE

    config: Config

    def __init__(self, config: Config, networks: Sequence[Staged], start: str):
        super().__init__(config, networks, start)
        width = networks[0].width("pooled")
        self.query = nn.Linear(width, max(width // 8, 1), bias=False)
        self.key = nn.Linear(width, max(width // 8, 1), bias=False)

    @property
    def names(self) -> list[str]:
        return [*super().names[:-1], "leader"] if self.config.leader else super().names

    @property
    def peers(self) -> list[str]:
        return self.names[:-1] if self.config.leader else self.names

    def forward(self, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        c = self.config
        outputs = self.outputs(batch.images, ("pooled",))
        peers, leader = (outputs[:-1], outputs[-1].logits) if c.leader else (outputs, None)
        logits = stack_logits(peers)
        queries, keys = self._project(torch.stack([peer.features["pooled"] for peer in peers]))
        weight, targets = c.weight(epoch), peer_targets(logits, queries, keys)
        terms = okddip_loss(logits, targets, leader, batch.labels, c.temperature, weight, c.loss)
        notes = {
            "train_top1": accuracy(logits.mean(0) if leader is None else leader, batch.labels),
            "kd_weight": scalar_note(weight, logits),
            "attention": attention(queries.detach(), keys.detach()).mean((0, 2)),
            "diversity": diversity(logits.detach()),
        }
        return Step(terms, notes)

    def _project(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys [p, B, d] of pooled features [p, B, D], in full precision under autocast too."""
        with torch.autocast(pooled.device.type, enabled=False):
            return self.query(full_precision(pooled)), self.key(full_precision(pooled))

    def networks(self) -> dict[str, nn.Module]:
        """The leader first, then the peers; without a leader the ensemble first."""
        students = super().networks()
        if self.config.leader:
            return {"leader": students["leader"]} | students
        return {"ensemble": Ensemble(self.branches, self.start)} | students

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        logits = super().predict(images)
        deployed = "leader" if self.config.leader else "ensemble"
        return {deployed: logits[deployed]} | logits
