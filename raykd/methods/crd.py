"""Contrastive Representation Distillation (Tian et al., ICLR 2020).

CRD: γ CE + β · two noise-contrastive losses: embeddings of the student's pooled vector against a memory of
the teacher's, and of the teacher's against one of the student's; the sample's own entry is the positive, and K
entries of other classes are the negatives. Embeddings (linear, of unit length) are trained for both networks; the
memories are moving averages of them. K 16384, T 0.07, momentum 0.5, 128 dimensions and β 0.8 as in RepDistiller. Its
results for CRD + KD are those of a `sum` of `crd` and `kd`.

The memories hold a row for every sample of the training file: 2 · N · 128 numbers, in checkpoints too
(measured for the 1,281,167 images of ImageNet: 1312 MB, with `memory` float16 656 MB; for 64 images and K 16384 the
loss, its gradient and the update take 2.4 s of one CPU core, with CIFAR-100's 50,000 rows 1.5 s). They are updated
from the global batch, and a sample's negatives are a function of the seed, the step and the sample, so that
everything is the same for any number of workers.
Deviation: negatives are drawn with replacement; RepDistiller draws without it if at least K samples are of other
classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from raykd import UserError
from raykd.contract import Batch, Output, global_rows, global_sum
from raykd.fields import Fraction, NonNegative, Positive, PositiveInt
from raykd.losses import full_precision, total, unit_length
from raykd.methods.base.feature_method import FeatureConfig, FeatureMethod
from raykd.models.staged import Staged

EPSILON = 1e-7  # RepDistiller's, beside probabilities
GATHERED = 2**24  # maximum number of memory values that are gathered at once
MASK = 0xFFFFFFFF


@torch.no_grad()
def products(embedding: Tensor, memory: Tensor, indices: Tensor) -> Tensor:
    """Inner products of embeddings [B, d] with the rows [B, K] of a memory [N, d] → [B, K]."""
    size = _rows_at_once(indices, memory)
    parts = zip(embedding.split(size), indices.split(size), strict=True)
    return torch.cat([(memory[at].to(e.dtype) @ e[:, :, None]).squeeze(2) for e, at in parts])


@torch.no_grad()
def combine(weights: Tensor, memory: Tensor, indices: Tensor) -> Tensor:
    """Weighted sums of the rows [B, K] of a memory [N, d]; weights [B, K] → [B, d]."""
    size = _rows_at_once(indices, memory)
    parts = zip(weights.split(size), indices.split(size), strict=True)
    return torch.cat([(w[:, None] @ memory[at].to(w.dtype)).squeeze(1) for w, at in parts])


def _rows_at_once(indices: Tensor, memory: Tensor) -> int:
    return max(1, GATHERED // (indices.shape[1] * memory.shape[1]))


def nce_loss(scores: Tensor, samples: int) -> Tensor:
    """Noise-contrastive loss of normalised scores [B, 1 + K], the positive first, a mean over samples; noise 1 / N."""
    noise = (scores.shape[1] - 1) / samples
    positive, negatives = scores[:, 0], scores[:, 1:]
    true = (positive / (positive + noise + EPSILON)).log().sum()
    false = (noise / (negatives + noise + EPSILON)).log().sum()
    return -(true + false) / len(scores)


def nce_gradient(scores: Tensor, samples: int) -> Tensor:
    """Gradient of `nce_loss` with respect to the scores' logarithms, [B, 1 + K]."""
    noise = (scores.shape[1] - 1) / samples
    share = scores / (scores + noise + EPSILON)
    return torch.cat([share[:, :1] - 1, share[:, 1:]], dim=1) / len(scores)


def contrastive_loss(
    embedding: Tensor, memory: Tensor, indices: Tensor, scores: Tensor, temperature: float, samples: int
) -> Tensor:
    """`nce_loss` of the normalised scores of embeddings [B, d], to which its gradient flows.

    The gradient is computed in the forward pass, in closed form: the B·K gathered rows need not be saved, and the
    memory may change before the backward pass.
    """
    gradient = combine(nce_gradient(scores, samples) / temperature, memory, indices)
    return nce_loss(scores, samples) + ((embedding - embedding.detach()) * gradient).sum()


@torch.no_grad()
def update_memory(memory: Tensor, indices: Tensor, embedding: Tensor, momentum: float) -> None:
    """Move the rows [B] of a memory [N, d] towards unit vectors [B, d]; rows stay of unit length.

    If a sample occurs twice, as in a batch that spans two epochs, the last one counts.
    """
    entries = unit_length(momentum * memory[indices].to(embedding.dtype) + (1 - momentum) * embedding)
    twins = indices[:, None] == indices
    last = (twins * torch.arange(len(indices), device=indices.device)).argmax(1)
    memory.index_copy_(0, indices, entries[last].to(memory.dtype))


def hash32(x: Tensor) -> Tensor:
    """A hash, bijective on 32-bit integers (constants of lowbias32): int64 of any shape."""
    x = (x ^ (x >> 16)) * 0x7FEB352D & MASK
    x = (x ^ (x >> 15)) * 0x846CA68B & MASK
    return x ^ (x >> 16)


class CRD(FeatureMethod):
    """Contrasts embedded pooled features of each sample with those of many samples of other classes."""

    reads, term = "pooled", "contrast"

    @dataclass(frozen=True, kw_only=True)
    class Config(FeatureConfig):
        kind = "relations"
        compares_images = True
        hard_labels: ClassVar[bool] = True
        label_weight: ClassVar[str] = ""  # labels are always read: negatives are samples of other classes

        beta: NonNegative = 0.8
        """Weight of the contrastive losses."""
        negatives: PositiveInt = 16384
        """Number of entries of other classes, K, that each sample is compared with."""
        temperature: Positive = 0.07
        """Temperature T of the inner products."""
        momentum: Fraction = 0.5
        """Momentum of the memory: share of the old entry that is kept at an update."""
        dimensions: PositiveInt = 128
        """Dimensions of the embeddings."""
        memory: Literal["float32", "float16"] = "float32"
        """Type of the memories' numbers: float16 halves their size, on the device and in checkpoints."""

    config: Config
    order: Tensor  # [N] rows of the training file by class
    counts: Tensor  # [C] rows of each class
    starts: Tensor  # [C] where each class begins in `order`
    student_memory: Tensor  # [rows, dimensions]
    teacher_memory: Tensor
    normalisers: Tensor  # [2], of both losses
    steps: Tensor

    def __init__(self, config: Config, student: Staged, teacher: Staged):
        super().__init__(config, student, teacher)
        self.student_embedding = nn.Linear(student.width("pooled"), config.dimensions)
        self.teacher_embedding = nn.Linear(teacher.width("pooled"), config.dimensions)
        self.seed = int(torch.randint(2**31, ()))  # determined by the recipe's seed

    def set_training_labels(self, labels: Tensor) -> None:
        """Create the memories with random rows; labels [N] of all rows of the training file, −1 for those without.

        Raises UserError if there is only one class.
        """
        trained = labels >= 0
        counts = torch.bincount(labels[trained])
        if counts.max() == trained.sum():
            raise UserError("crd requires at least two classes: the training split has only one")
        order = labels.argsort(stable=True)[int((~trained).sum()) :]  # rows by class, held-out ones left out
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("counts", counts, persistent=False)
        self.register_buffer("starts", counts.cumsum(0) - counts, persistent=False)
        generator = torch.Generator().manual_seed(self.seed)
        bound = (3 / self.config.dimensions) ** 0.5
        for name in ("student_memory", "teacher_memory"):
            entries = torch.empty(len(labels), self.config.dimensions).uniform_(-bound, bound, generator=generator)
            self.register_buffer(name, entries.to(getattr(torch, self.config.memory)))
        self.register_buffer("normalisers", torch.zeros(2))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def distance(self, student: Output, batch: Batch, teachers: Sequence[Output]) -> Tensor:
        c, ((s, t),) = self.config, self.pairs(student, teachers)
        embeddings = [
            unit_length(full_precision(embed(x)))
            for embed, x in ((self.student_embedding, s), (self.teacher_embedding, t))
        ]
        indices = torch.cat([batch.index[:, None], self.negatives(batch)], dim=1)
        memories = (self.teacher_memory, self.student_memory)
        with torch.autocast(s.device.type, enabled=False):  # which would multiply in half precision
            raw = [(products(e, m, indices) / c.temperature).exp() for e, m in zip(embeddings, memories, strict=True)]
            pairs = zip(embeddings, memories, self.normalised(torch.stack(raw)), strict=True)
            loss = total(contrastive_loss(e, m, indices, x, c.temperature, len(self.order)) for e, m, x in pairs)
        if self.training:
            self.update_memories(embeddings, batch)
        return loss

    @torch.no_grad()
    def negatives(self, batch: Batch) -> Tensor:
        """Rows of samples of other classes, [B, K], with replacement; the same for any number of workers."""
        key = hash32(hash32(self.steps + self.seed & MASK) + batch.index & MASK)
        bits = hash32(key[:, None] + torch.arange(self.config.negatives, device=key.device) * 0x9E3779B1 & MASK)
        own = self.counts[batch.labels]
        rank = bits * (len(self.order) - own)[:, None] >> 32  # among the samples of other classes, by class
        rank = rank + torch.where(rank >= self.starts[batch.labels][:, None], own[:, None], 0)
        return self.order[rank]

    @torch.no_grad()
    def normalised(self, scores: Tensor) -> Tensor:
        """Scores [2, B, 1 + K] of both losses over their normalisers: N times the first global batch's mean."""
        count = torch.full_like(scores[:, 0, 0], scores[0].numel())
        total, count = global_sum(torch.stack([scores.sum((1, 2)), count]))
        first = total / count * len(self.order)
        normalisers = torch.where(self.normalisers > 0, self.normalisers.to(first.dtype), first)
        if self.training:
            self.normalisers.copy_(normalisers)
        return scores / normalisers[:, None, None]

    @torch.no_grad()
    def update_memories(self, embeddings: Sequence[Tensor], batch: Batch) -> None:
        """Move both memories towards the global batch's embeddings."""
        indices = global_rows(batch.index, batch.shares)
        for memory, embedding in zip((self.student_memory, self.teacher_memory), embeddings, strict=True):
            update_memory(memory, indices, global_rows(embedding.detach(), batch.shares), self.config.momentum)
        self.steps += 1
