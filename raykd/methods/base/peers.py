"""Base classes and losses of online methods: students that learn from each other and may share their first stages.

Branches are whole `Staged` networks whose modules before the branching stage are the same objects. So each branch is an
ordinary network, but a forward pass runs the shared trunk only once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Annotated, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raykd import UserError
from raykd.contract import Output, expect_teachers
from raykd.fields import Interval, NonNegative, Positive
from raykd.losses import cross_entropy, full_precision, kl_divergence, ramp_up, soft_cross_entropy
from raykd.method import MethodConfig
from raykd.methods.base.student import ConfiguredDistiller
from raykd.models.staged import Staged, find_chain

WHOLE = "stem"  # branching at the stem: whole networks that share nothing
Loss = Literal["kl", "cross-entropy"]


def peer_cross_entropy(peers: Sequence[Tensor] | Tensor, labels: Tensor) -> Tensor:
    """Sum over peers of the batch mean of the cross-entropy; peers [m, B, C], labels [B] or [B, C]."""
    return torch.stack([cross_entropy(logits, labels) for logits in peers]).sum()


def divergence(student: Tensor, target: Tensor, temperature: float, loss: Loss, reduction: str = "batchmean") -> Tensor:
    """Of logits [B, C]: T² KL(target ‖ student), or T² times the cross-entropy with the target.

    Gradients flow into both.
    """
    compare = kl_divergence if loss == "kl" else soft_cross_entropy
    return compare(student, target, temperature, reduction)


def peer_divergence(peers: Tensor, targets: Tensor, temperature: float, loss: Loss = "kl") -> Tensor:
    """Sum over peers of their divergences from their targets, each a batch mean; both [m, B, C]."""
    return divergence(peers, targets, temperature, loss, "none").mean(1).sum()


def diversity(peers: Tensor, reduction: str = "mean") -> Tensor:
    """Euclidean distance of two peers' softmax outputs, averaged over the pairs; peers [m, B, C], 0 for a single peer.

    reduction "mean" averages over the samples, "none" gives [B]. As in OKDDip (Chen et al., AAAI 2020); unlike
    the authors' code, the divisor is the number of pairs for any m, and nothing is added to the differences.
    """
    p = F.softmax(full_precision(peers), dim=-1)
    distances = [torch.linalg.vector_norm(p[a] - p[b], dim=-1) for a, b in combinations(range(len(p)), 2)]
    per_sample = torch.stack(distances).mean(0) if distances else p.new_zeros(p.shape[1])
    return per_sample.mean() if reduction == "mean" else per_sample


def share_trunks(networks: Sequence[Staged], start: str, with_block: bool = False) -> None:
    """Make all networks share the first one's modules before stage `start`; with_block: its convolutions, too."""
    for network in networks[1:]:
        network.share_trunk(networks[0], before=start)
        for name, module in convolving(networks[0], start).items() if with_block else ():
            network.model.set_submodule(name, module)


def convolving(network: Staged, stage: str) -> dict[str, nn.Module]:
    """The modules of a stage that have convolutions, by their dotted names."""
    modules = network.modules_of(stage).items()
    return {name: module for name, module in modules if any(isinstance(part, nn.Conv2d) for part in module.modules())}


class Ensemble(nn.Module):
    """The mean of the networks' logits, [B, C], as one network."""

    def __init__(self, networks: Sequence[Staged], start: str):
        super().__init__()
        self.members = cast(Sequence[Staged], nn.ModuleList(networks))
        self.start = start

    def forward(self, images: Tensor) -> Tensor:
        trunk = self.members[0].trunk(images, self.start)
        return stack_logits([member.run_from(self.start, trunk, ()) for member in self.members]).mean(0)


def stack_logits(outputs: Sequence[Output]) -> Tensor:
    """[m, B, C] in full precision."""
    return torch.stack([full_precision(output.logits) for output in outputs])


@dataclass(frozen=True, kw_only=True)
class PeerConfig(MethodConfig):
    """Base class of the settings of online methods, whose networks train together without a frozen teacher."""

    kind = "online"
    uses_teachers = False
    distiller: ClassVar[type["PeerDistiller"]]  # see `ConfiguredDistiller`

    select_by: Literal["deployed", "mean"] = "deployed"
    """Top-1 that selects a run's best evaluation: that of the deployed network, or the mean over all students, as in
    OKDDip's code for branches without a leader."""

    def build(self, new_student: Callable[[], Staged], teachers: Sequence[Staged]) -> "PeerDistiller":
        expect_teachers(self.name, teachers, 0, 0)
        return self.distiller(self, *self.build_networks(new_student))

    def build_networks(self, new_student: Callable[[], Staged]) -> tuple[list[Staged], str]:
        """Fresh networks, and the first stage that they don't share; raises UserError for networks that don't fit."""
        raise NotImplementedError

    def build_peers(self, new_student: Callable[[], Staged], field: str) -> list[Staged]:
        """As many fresh networks as a field says; raises UserError, naming it, if these are fewer than two."""
        count = getattr(self, field)
        if count < 2:
            raise UserError(f"{self.name} requires at least 2 networks: `method.{field}` is {count}")
        return [new_student() for _ in range(count)]


@dataclass(frozen=True, kw_only=True)
class BranchConfig(PeerConfig):
    """Base class of the settings of online methods whose networks share their first stages."""

    branches: Annotated[int, Interval(ge=2, le=64)] = 4
    """Number of branches; branch0 is deployed."""
    branch_from: str = "last"
    """First stage that the branches do not share: "last", or a stage's name such as "stage2"."""
    share_block: bool = False
    """Share the last stage as well, with its BatchNorms, as OKDDip's DenseNets do; each branch has only what follows it
    (DenseNet's last norm, the classifier)."""

    def build_networks(self, new_student: Callable[[], Staged]) -> tuple[list[Staged], str]:
        """Fresh branches and their first stage; raises UserError if the network can't be branched there."""
        networks = self.build_peers(new_student, "branches")
        find_chain(*networks)
        if self.share_block and self.branch_from != "last":
            raise UserError(
                f"`method.share_block` of {self.name} requires `method.branch_from` last, not {self.branch_from!r}"
            )
        start = split_stage(self.name, networks[0], self.branch_from)
        if self.share_block and not convolving(networks[0], start):
            raise UserError(f"`method.share_block` of {self.name}: {start} of {networks[0].name} has no convolutions")
        return networks, start


@dataclass(frozen=True, kw_only=True)
class ConsistencyConfig(PeerConfig):
    """Base class of the settings of the divergences between peers and their targets."""

    temperature: Positive = 3.0
    """Temperature T of both softmaxes."""
    alpha: NonNegative = 1.0
    """Weight of the divergences (T² is part of them)."""
    loss: Loss = "kl"
    """The divergence: kl, or the cross-entropy with the softened target, which also gets gradients."""
    ramp_up_start: NonNegative = 0.0
    """Epoch at which the ramp-up starts; before it the weight is alpha itself."""
    ramp_up_epochs: NonNegative = 80.0
    """Epochs over which the weight rises from exp(-5) × alpha to alpha; 0: no ramp-up."""

    def weight(self, epoch: float) -> float:
        """The divergences' weight at an epoch."""
        return self.alpha * ramp_up(epoch, self.ramp_up_epochs, self.ramp_up_start)


class PeerDistiller(ConfiguredDistiller):
    """Base class of methods with m students and no teacher; the first of `networks()` is deployed."""

    def __init__(self, config: PeerConfig, networks: Sequence[Staged], start: str):
        """start: the first stage that the networks don't share."""
        super().__init__()
        self.config, self.start = config, start
        self.share_block = isinstance(config, BranchConfig) and config.share_block
        self.branches = cast(Sequence[Staged], nn.ModuleList(networks))
        self._share()

    def _share(self) -> None:
        if self.start != WHOLE:
            share_trunks(self.branches, self.start, self.share_block)

    def outputs(self, images: Tensor, features: Sequence[str] = ()) -> list[Output]:
        """Every student's output for images [B, 3, H, W]; the shared trunk runs once."""
        return self.outputs_from(self.branches[0].trunk(images, self.start), features)

    def outputs_from(self, trunk: Tensor, features: Sequence[str] = ()) -> list[Output]:
        """As `outputs`, from the trunk's output [B, D, h, w].

        A shared block runs once for each branch, so that its BatchNorms see every batch m times.
        """
        return [branch.run_from(self.start, trunk, features) for branch in self.branches]

    @property
    def names(self) -> list[str]:
        """Names of the networks."""
        kind = "network" if self.start == WHOLE else "branch"
        return [f"{kind}{i}" for i in range(len(self.branches))]

    @property
    def peers(self) -> list[str]:
        """Names of the networks that are each other's teachers."""
        return self.names

    def networks(self) -> dict[str, nn.Module]:
        self._share()  # converting BatchNorm to SyncBatchNorm replaces shared modules one by one
        return dict(zip(self.names, self.branches, strict=True))

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Logits [B, C] of every network, and "ensemble": the mean of all logits; images [B, 3, H, W]."""
        logits = stack_logits(self.outputs(images))
        return dict(zip(self.names, logits, strict=True)) | {"ensemble": logits.mean(0)}

    def selects(self, top1: Mapping[str, float]) -> float:
        if self.config.select_by == "mean":
            return fmean(top1[name] for name in self.names)
        return super().selects(top1)

    def measure(self, logits: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"diversity": diversity(torch.stack([logits[name] for name in self.peers]), reduction="none")}


def split_stage(method: str, network: Staged, branch_from: str) -> str:
    """The stage that `method.branch_from` names; raises UserError if the network has no such stage."""
    if not network.is_chain:
        raise UserError(
            f"{method} branches its network at a stage, but {network.name} is not a chain of stages: use another "
            "network"
        )
    stage = network.last_stage if branch_from == "last" else branch_from
    if stage not in network.stages:
        known = ", ".join(network.stages)
        raise UserError(f"`method.branch_from` of {method} is {branch_from!r}, but {network.name} has: last, {known}")
    return stage


def scalar_note(value: float, like: Tensor) -> Tensor:
    """A number as a note, a tensor of shape [], filled on the device without a copy from the host."""
    if torch.compiler.is_compiling():  # `full` would recompile the distiller for every number
        return torch.ones((), device=like.device) * value
    return torch.full((), value, device=like.device)
