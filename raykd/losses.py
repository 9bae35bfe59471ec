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
    """Convert a tensor of any shape from float16 or bfloat16 to float32; other types are unchanged."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def total(terms: Iterable[Tensor]) -> Tensor:
    """The sum of one or more scalar terms, each of shape [], added up in order."""
    return reduce(torch.add, terms)


def kl_divergence(
    student: Tensor, teacher: Tensor, temperature: float | Tensor = 1.0, reduction: str = "batchmean"
) -> Tensor:
    """T² KL(softmax(teacher/T) ‖ softmax(student/T)) of logits [..., C], T the temperature (Hinton et al. 2015).

    The factor T² keeps gradients at the same scale for all temperatures. reduction "batchmean" averages over all but
    the class dimension, "none" returns [...]; others raise ValueError.
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

    Logits are [..., C]; arguments as of `kl_divergence`. If the teacher's logits require gradients, they are also moved
    towards a lower entropy.
    """
    p = F.softmax(full_precision(teacher) / temperature, dim=-1)
    log_q = F.log_softmax(full_precision(student) / temperature, dim=-1)
    loss = -(p * log_q).sum(-1) * temperature**2
    return loss if reduction == "none" else loss.mean()


def cross_entropy(logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """Cross-entropy of logits [B, C] against classes [B] or distributions [B, C]; reduction "mean" or "none".

    A missing label (−1) counts as class 0: methods that allow missing labels give this term the weight 0.
    """
    logits = full_precision(logits)
    labels = labels.to(logits.dtype) if labels.is_floating_point() else labels.clamp_min(0)
    return F.cross_entropy(logits, labels, reduction=reduction)


def map_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference of each sample's feature maps, both [B, D, h, w] → [B].

    Computed as a sum and divided: the gradients of mean and mse_loss are not channels last, which slows down the rest
    of the backward pass.
    """
    difference = full_precision(a) - full_precision(b)
    return difference.square().sum(tuple(range(1, a.ndim))) / a[0].numel()


def spatial_mean(x: Tensor) -> Tensor:
    """Mean of a feature map over its positions, [B, D, h, w] → [B, D].

    Of channels-last maps, the mean is taken over one flattened dimension: the gradient of `x.mean((2, 3))` is channels
    first, and adding it to other gradients takes several times as long.
    """
    return x.mean((2, 3)) if x.is_contiguous() else x.permute(0, 2, 3, 1).flatten(1, 2).mean(1)


def entropy(logits: Tensor) -> Tensor:
    """Shannon entropy in nats of softmax(logits), [..., C] → [...].

    Computed in float64, since float32 loses the small probabilities next to that of a confident class.
    """
    p = F.softmax(logits.double(), dim=-1)
    # A probability of 0 adds 0; the logarithm of a subnormal one would have an infinite gradient.
    log_p = torch.where(p > torch.finfo(p.dtype).tiny, p, 1.0).log()
    return -(p * log_p).sum(-1).to(full_precision(logits).dtype)


def standardize(logits: Tensor, eps: float = 1e-7) -> Tensor:
    """Z-score of logits over the classes, [..., C].

    "Logit Standardization in Knowledge Distillation" (Sun et al. 2024). As in the authors' code, it divides by the
    unbiased deviation (C − 1) plus eps.
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

    The ramp-up of "Temporal Ensembling" (Laine & Aila 2017), by whole epochs as in OKDDip's code. All arguments are in
    epochs.
    """
    since = math.floor(epoch) - start
    if length <= 0 or since < 0:
        return 1.0
    passed = min(since, length)
    return exp(-5.0 * (1.0 - passed / length) ** 2)


def warm_up(epoch: float, length: float) -> float:
    """A linear warm-up by whole epochs: min(n / length, 1) in the n-th epoch, n from 1; 1 for length 0."""
    return min((math.floor(epoch) + 1) / length, 1.0) if length > 0 else 1.0


def curriculum(epoch: float, length: float) -> float:
    """(1 − cos(π min(n, length)/length)) / 2 in the n-th epoch, n from 1; 1 for length 0.

    The schedule of "Curriculum Temperature for Knowledge Distillation" (Li et al. 2023), by whole epochs as in the
    authors' code; both arguments are in epochs.
    """
    if length <= 0:
        return 1.0
    return (1.0 - math.cos(math.pi * min(math.floor(epoch) + 1.0, length) / length)) / 2


def unit_length(x: Tensor, dim: int = 1) -> Tensor:
    """x, of any shape, divided by its Euclidean length along `dim`.

    A vector of length 0 (below 1e-12) becomes 0 and gets no gradient.
    """
    length = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    nonzero = length > 1e-12
    return torch.where(nonzero, x / torch.where(nonzero, length, 1.0), 0.0)
