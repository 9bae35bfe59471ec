"""Self-supervised Knowledge Distillation Using Singular Value Decomposition (Lee et al., ECCV 2018).

KDSVD: γ CE + β · Σ over neighbouring stages of the squared differences between the two networks' radial-basis functions
of the maps' first k right singular vectors, each a mean over samples (as in RepDistiller, which
publishes no result for it). A map [D, h, w] is the matrix [h·w, D]; the student's first k + 3 vectors are aligned with
the teacher's by their largest cosines. Both networks' maps must have equally many channels.
Deviations: the sign of a singular vector is free and its function is not even, so the teacher's are turned to a
positive largest component; gradients between (nearly) equal singular values are damped where RepDistiller's are NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from raykd.contract import Batch, Output
from raykd.fields import NonNegative, PositiveInt
from raykd.losses import full_precision, unit_length
from raykd.methods.base.feature_method import FeatureConfig, FeatureMethod

EXTRA = 3  # vectors of the student's beyond the teacher's k
DAMPING = 1e-12  # beside squared gaps, relative to the largest singular value


def _svd(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    u, s, vh = torch.linalg.svd(x, full_matrices=False)
    return u, s, vh


class _RightVectors(torch.autograd.Function):
    """Right singular vectors of matrices [B, n, D] → [B, D, min(n, D)]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        u, s, vh = _svd(x)
        ctx.save_for_backward(u, s, vh)
        return vh.mT

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        u, s, vh = cast(tuple[Tensor, Tensor, Tensor], ctx.saved_tensors)
        damping = DAMPING * s[:, :1].square().clamp_min(1e-6)
        inside = vh @ gradient
        gaps = s[:, None, :].square() - s[:, :, None].square()
        gaps = gaps / (gaps.square() + damping[..., None].square())
        mixed = s[:, :, None] * (gaps * (inside - inside.mT)) @ vh
        outside = (s / (s.square() + damping))[:, :, None] * (gradient.mT - inside.mT @ vh)
        return u @ (mixed + outside)


def right_vectors(feature_map: Tensor, count: int) -> Tensor:
    """First right singular vectors of the positions-by-channels matrix: [B, D, h, w] → [B, D, at most count]."""
    x = full_precision(feature_map).flatten(2).mT
    with torch.autocast(x.device.type, enabled=False):
        vectors: Tensor = _RightVectors.apply(x)
    return vectors[:, :, :count]


@torch.no_grad()
def teacher_vectors(feature_map: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first vectors [B, D, k], their largest component positive, and the singular values, of unit length [B, k]."""
    x = full_precision(feature_map).flatten(2).mT
    with torch.autocast(x.device.type, enabled=False):
        _, s, vh = _svd(x)
    vectors = vh.mT[:, :, :count]
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return vectors * torch.where(largest < 0, -1.0, 1.0), unit_length(s[:, :count])


def aligned(student: Tensor, teacher: Tensor) -> Tensor:
    """The student's vectors in the order and with the signs of the teacher's: [B, D, k + 3], [B, D, k] → [B, D, k].

    Each of the student's is assigned to the teacher's with the largest absolute cosine.
    """
    cosines = student.mT @ teacher
    most = cosines.abs() == cosines.abs().amax(1, keepdim=True)
    return student @ torch.where(most, cosines.sign(), 0.0)


def kernel(a: Tensor, b: Tensor) -> Tensor:
    """exp(−(a − b)² / 8) of all pairs of components: [B, D, k], [B, D', k] → [B, D, D', k]."""
    return torch.exp(-(a[:, :, None] - b[:, None]).square() / 8)


def kdsvd_loss(student: Sequence[Tensor], teacher: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Sum over neighbouring maps of the kernels' squared distances, a mean over samples.

    student: each map's vectors [B, D, k + 3]; teacher: each map's vectors [B, D, k] and values [B, k].
    """
    pairs = [(aligned(s, v) * values[:, None], v * values[:, None]) for s, (v, values) in zip(student, teacher)]
    total = []
    for (below_s, below_t), (s, t) in zip(pairs[:-1], pairs[1:], strict=True):
        total.append((kernel(s, below_s) - kernel(t, below_t).detach()).square().sum() / len(s))
    return torch.stack(total).sum()


class KDSVD(FeatureMethod):
    """Matches the relations between the singular vectors of neighbouring stages' maps."""

    term = "svd"
    equal_widths = True

    @dataclass(frozen=True, kw_only=True)
    class Config(FeatureConfig):
        kind = "features"

        beta: NonNegative = 1.0
        """Weight of the kernels' distance."""
        vectors: PositiveInt = 1
        """Singular vectors of each map."""

    config: Config

    def distance(self, student: Output, batch: Batch, teachers: Sequence[Output]) -> Tensor:
        k = self.config.vectors
        s, t = zip(*self.pairs(student, teachers), strict=True)
        return kdsvd_loss([right_vectors(x, k + EXTRA) for x in s], [teacher_vectors(x, k) for x in t])
