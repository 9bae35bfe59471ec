"""What passes between rooms: a batch in, named outputs of networks, named loss terms out."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from raykd import UserError
from raykd.method import MethodConfig

__all__ = ["Batch", "Distiller", "MethodConfig", "Output", "Step", "expect_teachers", "global_sum"]


class Batch(NamedTuple):
    """This worker's part of one global batch, augmented, normalised, mixed, on the device."""

    images: Tensor  # [B, 3, H, W] float
    labels: Tensor  # [B] int64, or [B, C] float where the recipe mixes images
    index: Tensor  # [B] int64, position in the data set


class Output(NamedTuple):
    """What one network says of a batch."""

    logits: Tensor  # [B, C]
    features: dict[str, Tensor]  # by name: "stem", "stage1" … [B, D, h, w], "pooled" [B, D]; only those asked for


class Step(NamedTuple):
    """What a distiller says of a batch; every term is a mean over the local batch (or scaled like one)."""

    terms: dict[str, Tensor]  # scalars, already weighted: the loss is their sum
    notes: dict[str, Tensor]  # scalars or [n] vectors, detached: only logged


class Distiller(nn.Module):
    """Everything that trains, and nothing that does not.

    `teacher_features[k]` names the features that `forward` reads of teacher k; nothing else is computed for it.
    """

    teacher_features: tuple[tuple[str, ...], ...] = ()
    reads_buffers: bool = False
    """True where `forward` reads buffers that workers fill differently, as a moving average of BatchNorm's statistics:
    all workers then take the first one's before every step. Each worker's training needs no statistics of BatchNorm,
    and an evaluation shares them anyway."""

    def forward(self, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        raise NotImplementedError

    def networks(self) -> dict[str, nn.Module]:
        """Networks from normalised images to logits; the first is the one deployed."""
        raise NotImplementedError

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Logits of every network (and of ensembles of them) by name, the deployed one first; evaluation only."""
        return {name: network(images) for name, network in self.networks().items()}

    def measure(self, logits: dict[str, Tensor]) -> dict[str, Tensor]:
        """Further figures of an evaluation, each [B], from what `predict` returned; averaged over the split."""
        return {}


def expect_teachers(method: str, teachers: Sequence, at_least: int, at_most: int | None = None) -> None:
    """Raise UserError unless the number of teachers is one that the method can use."""
    several = f"at least {at_least}" if at_most is None else f"{at_least} to {at_most}"
    wanted = str(at_least) if at_most == at_least else several
    if len(teachers) < at_least or (at_most is not None and len(teachers) > at_most):
        raise UserError(f"{method} takes {wanted} teacher(s), the recipe gives {len(teachers)}: change `teachers`")


def global_sum(local: Tensor) -> Tensor:
    """The sum of a tensor over all workers, without gradient; the tensor itself in a single process."""
    total = local.detach().clone()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(total)
    return total
