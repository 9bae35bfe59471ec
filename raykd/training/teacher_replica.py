"""A replica of a worker's frozen teachers in another process: same batches, same pass, outputs as plain bytes.

Batches are pure functions of (seed, step, rank, world), mixing included, so a replica reads the worker's batch by
itself and needs only step numbers.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from raykd.contract import Batch, Output, Placement
from raykd.recipe import Recipe
from raykd.teachers.outputs import split_batch, teacher_outputs
from raykd.training.setup import Experiment

SPAN = 256  # steps whose sample order is computed at once: the order of a whole training would fill the memory


class Packed(NamedTuple):
    """A tensor as bytes, with its strides, as a sum over another memory layout may round differently."""

    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements
    content: np.ndarray  # uint8, in memory order


class TeacherReplica:
    """The teachers of one worker, run outside of it: their outputs at every `stride`-th step."""

    def __init__(
        self,
        recipe: Recipe,
        trained: Sequence[str],
        features: Sequence[tuple[str, ...]],
        placement: Placement,
        stride: int = 1,
    ):
        """features: the distiller's `teacher_features`. placement: the worker's rank and world, on this device."""
        self.experiment = Experiment(recipe, placement, trained)
        self.data, self.teachers = self.experiment.train_data, self.experiment.teachers
        self.features, self.stride, self.parts = features, stride, recipe.accumulate
        self.context, self.steps = self.experiment.autocast, self.experiment.steps
        self._next = -1
        self._stream: Iterator[Batch] = iter(())

    def outputs(self, step: int) -> list[list[tuple[Packed, dict[str, Packed]]]]:
        """Each teacher's output for each part of a step's batch; fastest `stride` steps after the previous call."""
        if step != self._next:
            self._stream = self._batches(step)
        self._next = step + self.stride
        parts = split_batch(next(self._stream), self.parts)
        return [
            [_pack(out) for out in teacher_outputs(self.teachers, self.features, p.images, self.context)] for p in parts
        ]

    def _batches(self, step: int) -> Iterator[Batch]:
        for start in range(step, self.steps, SPAN * self.stride):
            yield from self.data.batches(start, min(start + SPAN * self.stride, self.steps), self.stride)


def _pack(output: Output) -> tuple[Packed, dict[str, Packed]]:
    return _bytes(output.logits), {name: _bytes(feature) for name, feature in output.features.items()}


def unpack(packed: tuple[Packed, dict[str, Packed]]) -> Output:
    """The output that `TeacherReplica.outputs` packed, on the CPU, in its own memory."""
    logits, features = packed
    return Output(_tensor(logits), {name: _tensor(feature) for name, feature in features.items()})


def _bytes(tensor: Tensor) -> Packed:
    dense = tensor.detach().to("cpu", copy=True)
    content = dense.as_strided((dense.numel(),), (1,)).view(torch.uint8).numpy()
    return Packed(str(dense.dtype).removeprefix("torch."), tuple(dense.shape), dense.stride(), content)


def _tensor(packed: Packed) -> Tensor:
    flat = torch.from_numpy(packed.content.copy()).view(getattr(torch, packed.dtype))
    return flat.as_strided(packed.shape, packed.strides)
