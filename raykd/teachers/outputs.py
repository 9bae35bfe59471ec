"""What frozen teachers say of a batch."""

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from raykd.contract import Batch, Output
from raykd.data.transfer import to_device
from raykd.teachers.frozen_teacher import FrozenTeacher


@torch.no_grad()
def ask(
    teachers: Sequence[FrozenTeacher], features: Sequence, images: Tensor, context, tags: np.ndarray | None = None
) -> list[Output]:
    """What each frozen teacher says of the images, with the features that the method reads of it.

    tags: which sample in which pass each image is; a teacher whose logits are kept is then read, not run.
    """
    said: list[Output] = []
    wanted = features or [()] * len(teachers)
    with context():
        for k, teacher in enumerate(teachers):
            run = functools.partial(teacher.output, images, wanted[k])
            if teacher.kept is None or tags is None:
                said.append(run())
            else:
                said.append(Output(teacher.kept.logits(tags, images.device, lambda run=run: run().logits), {}))
    return said


def moved(output: Output, device: torch.device) -> Output:
    """A host's output on a device."""
    features = {name: to_device(feature, device) for name, feature in output.features.items()}
    return Output(to_device(output.logits, device), features)


def split(batch: Batch, parts: int) -> Iterator[Batch]:
    """The parts that a worker's share of a batch is computed in."""
    if parts == 1:
        yield batch
        return
    for i, chunk in enumerate(zip(*(tensor.tensor_split(parts) for tensor in batch[:3]))):
        if len(chunk[0]):
            yield Batch(*chunk, tuple(share // parts + (i < share % parts) for share in batch.shares))
