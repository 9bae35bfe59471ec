"""Optimizers, and the learning rate over time."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from raykd import UserError
from raykd.fields import Fraction, Gt, Interval, NonNegative, NonNegativeInt, PositiveInt, Probability, Rule, ascending

if TYPE_CHECKING:
    import torch

Rate = Annotated[float, Gt(0), Rule("at most 1,000, as training diverges beyond", lambda rate: rate <= 1000)]
Decay = Annotated[float, Interval(ge=0, le=1000)]


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """Settings that all optimizers share. A recipe uses `SGD`, `AdamW`, `Shampoo`, or your own: a subclass with `build`
    in a file next to the recipe."""

    learning_rate: Rate = 0.1
    """Peak learning rate."""
    weight_decay: Decay = 5e-4
    """Weight decay; SGD adds this multiple of the parameters to their gradients."""
    decay_vectors: bool = True
    """Also decay one-dimensional parameters (norms, biases), as in the CIFAR papers."""
    clip_norm: NonNegative = 0.0
    """Clip the gradient to this Euclidean norm; 0: no clipping."""
    clip_each: bool = False
    """Clip each parameter's gradient by its own norm, as Keras's clipnorm does, instead of by the norm of all."""

    def build(self, groups: list[dict[str, Any]]) -> "torch.optim.Optimizer":
        """Create the optimizer for groups of parameters, each a dict with "params" and "weight_decay".

        The training loop sets "lr" of its groups before each step. Its state must consist of tensors and plain values,
        since checkpoints contain nothing else. Raises UserError if a subclass doesn't define it.
        """
        raise UserError(f"optimizer: {type(self).__name__} has no `build`: write one, or use SGD, AdamW or Shampoo")

    @property
    def group_decay(self) -> float:
        """The value of "weight_decay" in the groups that `build` gets."""
        return self.weight_decay


@dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum, as in torch."""

    momentum: Fraction = 0.9
    """Momentum factor."""
    nesterov: bool = True
    """Nesterov's momentum."""

    def build(self, groups: list[dict[str, Any]]) -> "torch.optim.Optimizer":
        from raykd.optimizers.fused import sgd

        return sgd(groups, self.learning_rate, self.momentum, self.nesterov)


@dataclass(frozen=True, kw_only=True)
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter, ICLR 2019)."""

    learning_rate: Rate = 1e-3
    """Peak learning rate."""
    weight_decay: Decay = 1e-4
    """Weight decay, decoupled from the gradient; see `decay`."""
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    """Decay of the running means of the gradient and of its square."""
    decay: Literal["times-rate", "schedule-only", "constant"] = "times-rate"
    """By how much a step decays: times-rate: rate × weight_decay (torch); schedule-only: (rate / peak rate) ×
    weight_decay (FunMatch); constant: weight_decay itself, whatever the rate (TensorFlow Addons)."""

    def build(self, groups: list[dict[str, Any]]) -> "torch.optim.Optimizer":
        from raykd.optimizers.fused import adamw

        return adamw(groups, self.learning_rate, self.betas, self.decay == "constant")

    @property
    def group_decay(self) -> float:
        """The value of "weight_decay" in the groups: torch multiplies it by the rate, so schedule-only divides it."""
        return self.weight_decay / self.learning_rate if self.decay == "schedule-only" else self.weight_decay


@dataclass(frozen=True, kw_only=True)
class Shampoo(Optimizer):
    """Shampoo (Gupta, Koren & Singer, ICML 2018) of the package pytorch-optimizer: `pip install 'raykd[shampoo]'`."""

    learning_rate: Rate = 1e-3
    """Peak learning rate."""
    weight_decay: Decay = 1e-4
    """Weight decay: this multiple of the parameters is added to their preconditioned gradients."""
    momentum: Fraction = 0.9
    """Momentum factor."""
    preconditioning_every: PositiveInt = 10
    """Steps between two updates of the preconditioner."""

    def build(self, groups: list[dict[str, Any]]) -> "torch.optim.Optimizer":
        from raykd.optimizers.shampoo import shampoo

        return shampoo(groups, self.learning_rate, self.momentum, self.preconditioning_every)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The learning rate over time; this base class keeps it constant after the warm-up. Your own is a subclass with
    `share_of_peak` in a file next to the recipe."""

    warmup_steps: NonNegativeInt = 0
    """Steps (updates) of linear warm-up from 0."""

    def share_of_peak(self, step: int, epoch: float, total: int) -> float:
        """The learning rate as a fraction of its peak, at update `step` (from 0) of `total`, after the warm-up.

        epoch: passes over the training split so far, fractional.
        """
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Half a cosine from the peak to `final`, changing at every step (Loshchilov & Hutter, ICLR 2017)."""

    final: Probability = 0.0
    """Last learning rate as a fraction of the peak, from 0 to 1."""

    def share_of_peak(self, step: int, epoch: float, total: int) -> float:
        passed = (step - self.warmup_steps) / max(1, total - self.warmup_steps)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * min(1.0, passed)))


@dataclass(frozen=True, kw_only=True)
class Steps(Schedule):
    """The learning rate is multiplied by `factor` at each milestone."""

    milestones: Annotated[tuple[NonNegative, ...], ascending] = ()
    """Epochs at which the learning rate drops."""
    factor: Annotated[float, Interval(gt=0, le=1)] = 0.1
    """Factor of each drop."""

    def share_of_peak(self, step: int, epoch: float, total: int) -> float:
        return float(self.factor ** sum(epoch >= milestone for milestone in self.milestones))


@dataclass(frozen=True, kw_only=True)
class Piecewise(Schedule):
    """The learning rate is a given fraction of the peak from each milestone on."""

    shares: Annotated[tuple[tuple[NonNegative, Probability], ...], ascending] = ()
    """Pairs of an epoch and the fraction of the peak from then on; before the first epoch: 1."""

    def share_of_peak(self, step: int, epoch: float, total: int) -> float:
        return ([1.0] + [share for start, share in self.shares if epoch >= start])[-1]
