"""Interfaces between packages: batches, outputs of networks, loss terms, and the class that every method implements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from raykd import UserError

__all__ = ["Batch", "Distiller", "Output", "Placement", "Step", "expect_teachers", "global_rows", "global_sum"]


@dataclass(frozen=True)
class Placement:
    """One worker's device and CPU threads, and its rank among the workers of its run."""

    device: torch.device
    """Device of its networks and batches."""
    threads: int
    """Number of CPU threads."""
    rank: int = 0
    """Rank among the workers, from 0."""
    world: int = 1
    """Number of workers."""
    gpu_share: float = 1.0
    """Fraction of its GPU's memory that it may use."""


class Batch(NamedTuple):
    """This worker's part of one global batch: augmented, normalised, mixed, and on the device."""

    images: Tensor
    """[B, 3, H, W] float."""
    labels: Tensor
    """[B] int64, −1 for an image without a label; or [B, C] float, the shares of the classes, if the recipe mixes
    images."""
    index: Tensor  # type: ignore[assignment]  # it hides tuple.index, which nobody calls
    """[B] int64, rows of the training file."""
    shares: tuple[int, ...] = ()
    """Number of rows of each worker, in order of ranks; empty if there is one worker."""


class Output(NamedTuple):
    """One network's output for a batch."""

    logits: Tensor
    """[B, C]."""
    features: dict[str, Tensor]
    """The requested features by name: "stem", "stage1" … [B, D, h, w], "pooled" [B, D]; "stage1.pre" … is the same map
    before its last activation, which not every network has (see `raykd.models.staged`)."""


class Step(NamedTuple):
    """A distiller's loss terms for a batch; every term is a mean over the local batch (or scaled like one)."""

    terms: dict[str, Tensor]
    """Loss terms, each a scalar [], already weighted: the loss is their sum."""
    notes: dict[str, Tensor]
    """Values that are only logged, scalars [] or vectors [n], detached."""


class Distiller(nn.Module):
    """Base class of all methods: a module with everything that is trained.

    It contains nothing else, except for frozen parts of a deployed network. State other than parameters (a memory bank)
    is a buffer. It must be the same on all workers, so it is updated from the global batch (`global_rows`), without
    randomness that differs between workers.
    """

    teacher_features: tuple[tuple[str, ...], ...] = ()
    """Names of the features of each teacher that `forward` reads; no others are computed."""
    reads_buffers: bool = False
    """True if `forward` reads buffers that differ between workers, such as BatchNorm's running statistics: rank 0's are
    then broadcast before every step. Other methods don't need that: training mode uses batch statistics, and running
    statistics are broadcast before evaluations anyway."""
    initialising: bool = False
    """True in the recipe's `initialise` phase, before epoch 0, in which `forward` returns that phase's terms. The loop
    sets it for methods whose config has `initialises`."""

    @property
    def needs_teachers(self) -> bool:
        """False while `forward` does not read the teachers' outputs; the teachers are then not run."""
        return True

    def set_training_labels(self, labels: Tensor) -> None:
        """Receive the class of each row of the training file, [N] int64; −1: held out, or without a label.

        For methods that store something for every sample; `Batch.index` refers to these rows. Called once, before the
        distiller is moved to a device or restored.
        """

    def forward(self, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        """Loss terms and notes of a batch.

        teachers: their outputs for the batch, in the recipe's order; empty while `needs_teachers` is False.
        epoch: passes over the training split so far, fractional, such as 2.5.

        A schedule is plain arithmetic on `epoch`, which torch.compile can trace (comparisons, min, floor, ** and the
        functions of raykd.losses); `math.exp` alone would recompile the distiller at every step.
        """
        raise NotImplementedError

    def networks(self) -> dict[str, nn.Module]:
        """Networks from normalised images to logits; the first is the one deployed.

        That one is a `Staged` that `raykd.models.create` can create again from its `name`.
        """
        raise NotImplementedError

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Logits [B, C] of every network (and of ensembles) by name, the deployed one first; images [B, 3, H, W]."""
        return {name: network(images) for name, network in self.networks().items()}

    def selects(self, top1: Mapping[str, float]) -> float:
        """The value that selects a run's best evaluation, the highest; by default the deployed network's top-1.

        top1: of every network by name, as fractions.
        """
        return next(iter(top1.values()))

    def measure(self, logits: dict[str, Tensor]) -> dict[str, Tensor]:
        """Further metrics of an evaluation by name, each [B], from the logits [B, C] of `predict`.

        They are averaged over the split.
        """
        return {}


def expect_teachers(method: str, teachers: Sequence[object], at_least: int, at_most: int | None = None) -> None:
    """Raise UserError unless the method can use this number of teachers."""
    several = f"at least {at_least}" if at_most is None else f"{at_least} to {at_most}"
    wanted = str(at_least) if at_most == at_least else several
    if len(teachers) < at_least or (at_most is not None and len(teachers) > at_most):
        raise UserError(f"{method} takes {wanted} teacher(s), the recipe gives {len(teachers)}: change `teachers`")


def global_sum(local: Tensor) -> Tensor:
    """The sum over all workers of a tensor of any shape, without gradient; in a single process a copy of the tensor."""
    total = local.detach().clone()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(total)
    return total


def global_rows(local: Tensor, shares: Sequence[int]) -> Tensor:
    """The rows of all workers in order of ranks, [B_local, ...] → [B, ...]: for losses that relate samples of a batch.

    shares: `Batch.shares`. Every worker computes the loss of the global batch. Gradients flow only into its own rows,
    and are scaled so that the workers' weighted average of gradients is the gradient of that loss.
    """
    if len(shares) <= 1:
        return local
    rank = torch.distributed.get_rank()
    padded = torch.nn.functional.pad(local.detach(), (0, 0) * (local.ndim - 1) + (0, max(shares) - len(local)))
    gathered = local.new_empty(len(shares) * max(shares), *local.shape[1:])
    torch.distributed.all_gather_into_tensor(gathered, padded)
    rows = [part[:share] for part, share in zip(gathered.chunk(len(shares)), shares, strict=True)]
    scale = sum(shares) / shares[rank]
    rows[rank] = local.detach() + (local - local.detach()) * scale if local.requires_grad else local
    return torch.cat(rows)
