"""Students that learn from each other: whole networks that may share their trunk, and what is asked of them together.

The branches of one stage are whole `Staged` networks whose earlier modules are the same objects, so that each branch
stays an ordinary network, while a forward pass runs the trunk once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raykd import UserError
from raykd.contract import Distiller, Output
from raykd.losses import cross_entropy, full_precision, kl_divergence
from raykd.method import MethodConfig
from raykd.models.staged import Staged

WHOLE = "stem"  # a network entered at its stem shares nothing


def peer_cross_entropy(peers: Sequence[Tensor] | Tensor, labels: Tensor) -> Tensor:
    """Sum over peers of the batch mean of the cross-entropy; peers [m, B, C], labels [B] or [B, C]."""
    return torch.stack([cross_entropy(logits, labels) for logits in peers]).sum()


def peer_divergence(peers: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Sum over peers of T² KL(target ‖ peer), each a batch mean; both [m, B, C], gradients flow into both."""
    return kl_divergence(peers, targets, temperature, reduction="none").mean(1).sum()


def diversity(peers: Tensor, reduction: str = "mean") -> Tensor:
    """Euclidean distance of two peers' softmax outputs, averaged over the pairs; peers [m, B, C], 0 for a single peer.

    reduction "mean" averages over the samples, "none" gives [B]. Chen et al. 2020, section "Branch diversity"; unlike
    the authors' code, the divisor is the number of pairs for any m, and nothing is added to the differences.
    """
    p = F.softmax(full_precision(peers), dim=-1)
    distances = [torch.linalg.vector_norm(p[a] - p[b], dim=-1) for a, b in combinations(range(len(p)), 2)]
    per_sample = torch.stack(distances).mean(0) if distances else p.new_zeros(p.shape[1])
    return per_sample.mean() if reduction == "mean" else per_sample


def share_trunks(networks: Sequence[Staged], start: str) -> None:
    """Make all networks use the first one's modules before stage `start`."""
    for network in networks[1:]:
        network.share_trunk(networks[0], before=start)


class Ensemble(nn.Module):
    """The mean of the networks' logits, [B, C], as one network."""

    def __init__(self, networks: Sequence[Staged], start: str):
        super().__init__()
        self.members = nn.ModuleList(networks)
        self.start = start

    def forward(self, images: Tensor) -> Tensor:
        trunk = self.members[0].trunk(images, self.start)
        return stack_logits([member.run_from(self.start, trunk, ()) for member in self.members]).mean(0)


def stack_logits(outputs: Sequence[Output]) -> Tensor:
    """[m, B, C] in full precision."""
    return torch.stack([full_precision(output.logits) for output in outputs])


@dataclass(frozen=True, kw_only=True)
class PeerConfig(MethodConfig):
    uses_teachers: ClassVar[bool] = False


class PeerDistiller(Distiller):
    """m students without a teacher; the first network of `networks()` is the one deployed."""

    def __init__(self, config: PeerConfig, networks: Sequence[Staged], start: str):
        super().__init__()
        self.config = config
        self.start = start
        self.branches = nn.ModuleList(networks)
        if start != WHOLE:
            share_trunks(networks, start)

    def ask(self, images: Tensor, features: Sequence[str] = ()) -> list[Output]:
        """What every student says of the images; what they share runs once."""
        return self.ask_from(self.branches[0].trunk(images, self.start), features)

    def ask_from(self, trunk: Tensor, features: Sequence[str] = ()) -> list[Output]:
        """The same, of what leaves the part that they share."""
        return [branch.run_from(self.start, trunk, features) for branch in self.branches]

    @property
    def names(self) -> list[str]:
        kind = "network" if self.start == WHOLE else "branch"
        return [f"{kind}{i}" for i in range(len(self.branches))]

    @property
    def peers(self) -> list[str]:
        """Names of the networks that are each other's teachers."""
        return self.names

    def networks(self) -> dict[str, nn.Module]:
        # Converting BatchNorm to SyncBatchNorm replaces shared modules one by one: share them again.
        if self.start != WHOLE:
            share_trunks(list(self.branches), self.start)
        return dict(zip(self.names, self.branches, strict=True))

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Logits of every network, and "ensemble": those of the mean of the logits of all networks."""
        logits = stack_logits(self.ask(images))
        return dict(zip(self.names, logits, strict=True)) | {"ensemble": logits.mean(0)}

    def measure(self, logits: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"diversity": diversity(torch.stack([logits[name] for name in self.peers]), reduction="none")}


def build_peers(
    method: str, new_student: Callable[[], Staged], count: int, field: str, at_least: int = 2
) -> list[Staged]:
    """`count` fresh networks; raises UserError naming the recipe's field where that is too few."""
    if count < at_least:
        raise UserError(f"{method} needs at least {at_least} networks: `method.{field}` is {count}")
    return [new_student() for _ in range(count)]


def split_stage(method: str, network: Staged, branch_from: str) -> str:
    """The stage that `method.branch_from` means; raises UserError where the network has no such stage."""
    stage = network.last_stage if branch_from == "last" else branch_from
    if stage not in network.stages:
        known = ", ".join(network.stages)
        raise UserError(f"`method.branch_from` of {method} is {branch_from!r}, but {network.name} has: last, {known}")
    return stage


def scalar_note(value: float, like: Tensor) -> Tensor:
    """A number as a note, filled on the device without a copy from the host."""
    return torch.full((), value, device=like.device)
