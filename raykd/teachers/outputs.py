"""Frozen teachers' outputs for a batch."""

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from raykd.contract import Batch, Output
from raykd.data.device.transfer import to_device
from raykd.teachers.frozen_teacher import FrozenTeacher
from raykd.teachers.precision import Context


@torch.no_grad()
def teacher_outputs(
    teachers: Sequence[FrozenTeacher],
    features: Sequence[Sequence[str]],
    images: Tensor,
    context: Context,
    addresses: np.ndarray | None = None,
) -> list[Output]:
    """Each frozen teacher's output for the images, with the features that the method needs.

    addresses: of the images [B] (see `TrainLoader.addresses`), to read the outputs of teachers that have a cache.
    """
    outputs: list[Output] = []
    features = features or [()] * len(teachers)
    with context():
        for teacher, names in zip(teachers, features):
            run = functools.partial(teacher.output, images, names)
            if teacher.cache is not None and addresses is not None:
                outputs.append(teacher.cache.output(addresses, images.device, run))
            else:
                outputs.append(run())
    return outputs


def output_to_device(output: Output, device: torch.device) -> Output:
    """An output copied to a device."""
    features = {name: to_device(feature, device) for name, feature in output.features.items()}
    return Output(to_device(output.logits, device), features)


def split_batch(batch: Batch, parts: int) -> Iterator[Batch]:
    """The parts in which a worker's share of a batch is computed."""
    if parts == 1:
        yield batch
        return
    chunks = zip(*(tensor.tensor_split(parts) for tensor in (batch.images, batch.labels, batch.index)), strict=True)
    for i, (images, labels, index) in enumerate(chunks):
        if len(images):
            yield Batch(images, labels, index, tuple(share // parts + (i < share % parts) for share in batch.shares))
