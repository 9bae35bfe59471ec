"""What passes between rooms: a batch in, named outputs of networks, named loss terms out."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from raykd import UserError

__all__ = ["Batch", "Distiller", "Output", "Step", "expect_teachers", "global_rows", "global_sum"]


class Batch(NamedTuple):
    """This worker's part of one global batch, augmented, normalised, mixed, on the device."""

    images: Tensor  # [B, 3, H, W] float
    labels: Tensor  # [B] int64, −1 for an image without one, or [B, C] float where the recipe mixes images
    index: Tensor  # type: ignore[assignment]  # [B] int64, position in the data set; hides tuple.index, which nobody calls
    shares: tuple[int, ...] = ()  # rows of each worker, in order of ranks; empty where there is one worker


class Output(NamedTuple):
    """What one network says of a batch."""

    logits: Tensor  # [B, C]
    features: dict[str, Tensor]
    """By name, only those asked for: "stem", "stage1" … [B, D, h, w], "pooled" [B, D]; "stage1.pre" … is the same map
    before its last activation, which not every network can give (see `raykd.models.staged`)."""


class Step(NamedTuple):
    """What a distiller says of a batch; every term is a mean over the local batch (or scaled like one)."""

    terms: dict[str, Tensor]  # scalars, already weighted: the loss is their sum
    notes: dict[str, Tensor]  # scalars or [n] vectors, detached: only logged


class Distiller(nn.Module):
    """Everything that trains, and nothing that does not, but for frozen parts of a network that is deployed.

    `teacher_features[k]` names the features that `forward` reads of teacher k; nothing else is computed for it.
    State beside the parameters (a memory bank) is a buffer. It must be the same on all workers, so it is updated from
    the global batch (`global_rows`), and no randomness of a worker's own may enter it.
    """

    teacher_features: tuple[tuple[str, ...], ...] = ()
    reads_buffers: bool = False
    """True where `forward` reads buffers that workers fill differently, as a moving average of BatchNorm's statistics:
    all workers then take the first one's before every step. Each worker's training needs no statistics of BatchNorm,
    and an evaluation shares them anyway."""
    initialising: bool = False
    """True in the recipe's `initialise` phase, before epoch 0: `forward` then gives that phase's terms. The loop sets
    it, of methods whose config says `initialises`."""

    @property
    def asks_teachers(self) -> bool:
        """False while `forward` reads nothing of the teachers, which then don't run."""
        return True

    def see_training_labels(self, labels: Tensor) -> None:
        """Told once, before anything is put on a device or restored, the classes [N] of the training file's rows.

        `Batch.index` counts those rows; −1: held out. For methods that hold something for every sample.
        """

    def forward(self, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        """Terms and notes of a batch. `epoch`: passes over the training split so far, a fraction within one.

        A schedule is plain arithmetic on `epoch`, which torch.compile follows (comparisons, min, floor, ** and the
        functions of raykd.losses); only `math.exp` would have the distiller compiled anew at every step.
        """
        raise NotImplementedError

    def networks(self) -> dict[str, nn.Module]:
        """Networks from normalised images to logits; the first is the one deployed.

        That one is a `Staged`, of whatever parts, which `raykd.models.create` makes again by its `name`.
        """
        raise NotImplementedError

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Logits of every network (and of ensembles of them) by name, the deployed one first; evaluation only."""
        return {name: network(images) for name, network in self.networks().items()}

    def selects(self, top1: Mapping[str, float]) -> float:
        """What the best evaluation of a run is chosen by, of every network's top-1; by default the deployed one's."""
        return next(iter(top1.values()))

    def measure(self, logits: dict[str, Tensor]) -> dict[str, Tensor]:
        """Further figures of an evaluation, each [B], from what `predict` returned; averaged over the split."""
        return {}


def expect_teachers(method: str, teachers: Sequence[object], at_least: int, at_most: int | None = None) -> None:
    """Raise UserError unless the number of teachers is one that the method can use."""
    several = f"at least {at_least}" if at_most is None else f"{at_least} to {at_most}"
    wanted = str(at_least) if at_most == at_least else several
    if len(teachers) < at_least or (at_most is not None and len(teachers) > at_most):
        raise UserError(f"{method} takes {wanted} teacher(s), the recipe gives {len(teachers)}: change `teachers`")


def global_sum(local: Tensor) -> Tensor:
    """The sum over all workers of a tensor of any shape, without gradient; a copy of it in a single process."""
    total = local.detach().clone()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(total)
    return total


def global_rows(local: Tensor, shares: Sequence[int]) -> Tensor:
    """The rows of all workers in order of ranks, [B_local, ...] → [B, ...]: for losses that relate samples of a batch.

    `shares`: the batch's. Every worker computes the loss of the whole batch from them; gradients flow into its own rows
    alone, scaled so that the workers' weighted average of gradients is the gradient of that loss.
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
