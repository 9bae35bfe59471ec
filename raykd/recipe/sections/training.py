"""The initialise phase, and the numeric settings of training."""

from dataclasses import dataclass
from typing import Literal

from raykd.fields import (
    NonNegative,
)
from raykd.recipe.sections.optimizer import SGD, Optimizer
from raykd.recipe.sections.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class Initialise:
    """A phase before the training, for methods with two phases, with its own loss terms, optimizer and schedule.

    In metrics.jsonl its epochs are negative, since the training begins at 0; it has no evaluations.
    """

    epochs: NonNegative = 0.0
    """Passes over the training split in this phase, may be fractional; 0: no such phase."""
    optimizer: Optimizer = SGD()
    """The optimizer."""
    schedule: Schedule = Schedule()
    """The learning rate over time; constant by default."""


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Number types, memory layout and compilation."""

    autocast: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the forward passes; parameters, losses and updates stay in float32."""
    channels_last: bool = True
    """Memory layout NHWC, in which convolutions are faster."""
    compile: bool = False
    """Compile the distiller with torch.compile."""
    tf32: bool = True
    """On GPUs, multiply float32 numbers in TF32 (10-bit mantissa), which is several times faster; off: in float32."""
    deterministic: bool = False
    """On GPUs, use deterministic kernels, so that a resumed run ends bit for bit like an uninterrupted one, with the
    same number of workers and type of GPU. It is slower, as the fastest kernels of cuDNN and cuBLAS, and fused ones of
    teachers, are not used. Without it a resumed run has the same batches and random numbers, but other rounding."""
