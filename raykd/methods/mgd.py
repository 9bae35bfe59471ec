"""Masked Generative Distillation (Yang et al., ECCV 2022).

Random channels of the student's last map are set to 0, and two convolutions generate the teacher's map from the rest:
γ CE + α · the squared distance, a sum over channels and positions and a mean over samples (so that the right α depends
on the map). A 1×1 convolution comes before where the widths differ. The published settings mask 15 % of the channels
with α 7e-5 on ImageNet; α 1.2e-3 on CIFAR-100. `mask="pixel"` masks positions, as the authors
do for detection (65 %, α 2e-5).
Deviations: the mask is a function of the sample and the epoch, not of a worker's random numbers, so that any number of
workers makes the same update; maps of other sizes are resized, where the authors' code refuses them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from raykd.contract import Batch, Output, Step
from raykd.fields import Fraction, NonNegative
from raykd.losses import cross_entropy, full_precision
from raykd.methods.base.feature_method import FeatureConfig, FeatureMethod
from raykd.methods.base.maps import resize
from raykd.models.staged import Staged

MASK = 0xFFFFFFFF


def mgd_loss(generated: Tensor, teacher: Tensor) -> Tensor:
    """Σ over channels and positions of the squared difference, a batch mean; maps [B, D, h, w]."""
    return (full_precision(generated) - full_precision(teacher)).square().sum() / len(teacher)


def masked(feature_map: Tensor, numbers: Tensor, share: float) -> Tensor:
    """The map [B, D, h, w], 0 where the numbers, [B, D, 1, 1] or [B, 1, h, w] in [0, 1), are below the share."""
    return torch.where(numbers < share, 0.0, feature_map)


def modules(width: int, out: int) -> tuple[nn.Module, nn.Sequential]:
    """The layer that aligns the widths, and the generator of the teacher's map."""
    align = nn.Conv2d(width, out, 1) if width != out else nn.Identity()
    return align, nn.Sequential(nn.Conv2d(out, out, 3, padding=1), nn.ReLU(), nn.Conv2d(out, out, 3, padding=1))


def uniform_by_sample(index: Tensor, epoch: float, count: int) -> Tensor:
    """Numbers in [0, 1) as a function of the samples' index [B] and the epoch: [B, count] float32.

    A 32-bit integer hash, computed on the index's device.
    """
    position = torch.arange(count, device=index.device)
    x = _finalize(index.unsqueeze(1) * 0x9E3779B1 + round(epoch * 1_000_003) * 0x85EBCA77)
    return _finalize(x + position * 0xC2B2AE3D).to(torch.float32) / 2**32 * (1 - 2**-24)


def _finalize(x: Tensor) -> Tensor:
    """The finalizer of MurmurHash3, on int64 that hold 32 bits."""
    x = x & MASK
    x = ((x ^ (x >> 16)) * 0x85EBCA6B) & MASK
    x = ((x ^ (x >> 13)) * 0xC2B2AE35) & MASK
    return x ^ (x >> 16)


class MGD(FeatureMethod):
    """Generates the teacher's last map from a randomly masked one of the student."""

    reads, term = "last stage", "generation"

    @dataclass(frozen=True, kw_only=True)
    class Config(FeatureConfig):
        kind = "features"

        alpha: NonNegative = 7e-5
        """Weight of the distance, which is a sum over the map."""
        share: Fraction = 0.15
        """Share of the student's map that is masked (the paper's λ)."""
        mask: Literal["channel", "pixel"] = "channel"
        """Unit of masking: whole channels, or whole positions."""

    config: Config

    def __init__(self, config: Config, student: Staged, teacher: Staged):
        super().__init__(config, student, teacher)
        widths = student.width(student.last_stage), teacher.width(teacher.last_stage)
        self.align, self.generation = modules(*widths)

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        c, ((s, target),) = self.config, self.pairs(student, teachers)
        aligned = self.align(resize(s, target.shape[2:]))
        batch_size, width, *size = aligned.shape
        shape = (width, 1, 1) if c.mask == "channel" else (1, *size)
        numbers = uniform_by_sample(batch.index, epoch, shape[0] * shape[1] * shape[2]).view(batch_size, *shape)
        distance = mgd_loss(self.generation(masked(aligned, numbers, c.share)), target)
        return Step({"ce": c.gamma * cross_entropy(student.logits, batch.labels), "generation": c.alpha * distance}, {})
