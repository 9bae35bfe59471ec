"""Loss functions that several methods share: tensors in, tensors out. B batch, C classes.

Half-precision inputs are computed in float32; float64 stays float64.
"""

import math
from collections.abc import Iterable
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor


def full_precision(x: Tensor) -> Tensor:
    """A tensor of any shape: float16 and bfloat16 as float32, other types as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def total(terms: Iterable[Tensor]) -> Tensor:
    """The sum of at least one scalar term, added up in order; every term has the shape []."""
    return reduce(torch.add, terms)


def kl_divergence(
    student: Tensor, teacher: Tensor, temperature: float | Tensor = 1.0, reduction: str = "batchmean"
) -> Tensor:
    """T² KL(softmax(teacher/T) ‖ softmax(student/T)) of logits [..., C]; Hinton et al. 2015, section 2.

    reduction "batchmean" averages over all but the class dimension, "none" returns [...].
    Gradients flow into the teacher's logits too, if they require them.
    """
    log_p = F.log_softmax(full_precision(teacher) / temperature, dim=-1)
    log_q = F.log_softmax(full_precision(student) / temperature, dim=-1)
    divergence = (log_p.exp() * (log_p - log_q)).sum(-1) * temperature**2
    if reduction == "none":
        return divergence
    if reduction == "batchmean":
        return divergence.mean()
    raise ValueError(f"reduction must be 'batchmean' or 'none', not {reduction!r}")


def soft_cross_entropy(
    student: Tensor, teacher: Tensor, temperature: float = 1.0, reduction: str = "batchmean"
) -> Tensor:
    """−T² Σ_c softmax(teacher/T) log softmax(student/T): `kl_divergence` plus T² times the teacher's entropy.

    Logits are [..., C]; arguments as there. Its gradient also makes the teacher more certain.
    """
    p = F.softmax(full_precision(teacher) / temperature, dim=-1)
    log_q = F.log_softmax(full_precision(student) / temperature, dim=-1)
    loss = -(p * log_q).sum(-1) * temperature**2
    return loss if reduction == "none" else loss.mean()


def cross_entropy(logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """Cross-entropy of logits [B, C] against classes [B] or distributions [B, C]; reduction "mean" or "none".

    A missing label (−1) counts as class 0: methods that allow them have weight 0 for this term.
    """
    logits = full_precision(logits)
    labels = labels.to(logits.dtype) if labels.is_floating_point() else labels.clamp_min(0)
    return F.cross_entropy(logits, labels, reduction=reduction)


def map_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference of each sample's feature maps, both [B, D, h, w] → [B].

    A sum that is divided, since the gradients of mean and mse_loss are not channels last, which slows down the rest of
    the backward pass.
    """
    difference = full_precision(a) - full_precision(b)
    return difference.square().sum(tuple(range(1, a.ndim))) / a[0].numel()


def spatial_mean(x: Tensor) -> Tensor:
    """Mean of a feature map over its positions, [B, D, h, w] → [B, D].

    For maps that lie channels last over one dimension of positions: the gradient of `x.mean((2, 3))` lies channels
    first, and adding it to others takes several times as long.
    """
    return x.mean((2, 3)) if x.is_contiguous() else x.permute(0, 2, 3, 1).flatten(1, 2).mean(1)


def entropy(logits: Tensor) -> Tensor:
    """Shannon entropy in nats of softmax(logits), [..., C] → [...].

    Computed in float64, as the small probabilities beside a confident class are lost in float32.
    """
    p = F.softmax(logits.double(), dim=-1)
    # A probability of 0 adds 0; the logarithm of a subnormal one would have an infinite gradient.
    log_p = torch.where(p > torch.finfo(p.dtype).tiny, p, 1.0).log()
    return -(p * log_p).sum(-1).to(full_precision(logits).dtype)


def standardize(logits: Tensor, eps: float = 1e-7) -> Tensor:
    """Z-score over classes, [..., C]; "Logit Standardization in Knowledge Distillation", Sun et al. 2024.

    With the unbiased deviation (C − 1), as in the authors' code.
    """
    logits = full_precision(logits)
    centred = logits - logits.mean(-1, keepdim=True)
    # vector_norm, unlike sqrt, has a finite gradient (0) where all logits are equal, as a zero-initialised head's are.
    deviation: Tensor = torch.linalg.vector_norm(centred, dim=-1, keepdim=True) / math.sqrt(centred.shape[-1] - 1)
    return centred / (deviation + eps)


def exp(x: float) -> float:
    """eˣ in a schedule; `math.exp` would recompile the distiller for every value under torch.compile."""
    return float(math.e**x) if torch.compiler.is_compiling() else math.exp(x)


def ramp_up(epoch: float, length: float, start: float = 0.0) -> float:
    """exp(−5 (1 − min(e, length)/length)²) of the whole epochs e passed since `start`; 1 before it and for length 0.

    The sigmoid-shaped ramp-up of "Temporal Ensembling" (Laine & Aila 2017), on whole epochs as OKDDip's authors do.
    """
    since = math.floor(epoch) - start
    if length <= 0 or since < 0:
        return 1.0
    passed = min(since, length)
    return exp(-5.0 * (1.0 - passed / length) ** 2)


def warm_up(epoch: float, length: float) -> float:
    """min(n / length, 1) in the n-th epoch, n from 1; 1 for length 0."""
    return min((math.floor(epoch) + 1) / length, 1.0) if length > 0 else 1.0


def curriculum(epoch: float, length: float) -> float:
    """(1 − cos(π min(n, length)/length)) / 2 in the n-th epoch, n from 1; 1 for length 0.

    The scale of "Curriculum Temperature for Knowledge Distillation" (Li et al. 2023), by epochs as in its code.
    """
    if length <= 0:
        return 1.0
    return (1.0 - math.cos(math.pi * min(math.floor(epoch) + 1.0, length) / length)) / 2


def unit_length(x: Tensor, dim: int = 1) -> Tensor:
    """x of any shape over its Euclidean length along `dim`.

    A vector of length 0 (below 1e-12) stays 0 and gets no gradient.
    """
    length = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    nonzero = length > 1e-12
    return torch.where(nonzero, x / torch.where(nonzero, length, 1.0), 0.0)
