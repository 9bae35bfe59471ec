"""Optimizers and their settings."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from raykd import UserError
from raykd.fields import (
    Fraction,
    Gt,
    Interval,
    NonNegative,
    PositiveInt,
    Rule,
)

if TYPE_CHECKING:
    import torch


Rate = Annotated[float, Gt(0), Rule("at most 1,000, as training diverges beyond", lambda rate: rate <= 1000)]
Decay = Annotated[float, Interval(ge=0, le=1000)]


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """Settings that all optimizers share; a recipe names one of `SGD`, `AdamW`, `Shampoo`, or one of your own: a
    subclass beside the recipe that has `build`."""

    learning_rate: Rate = 0.1
    """Peak learning rate."""
    weight_decay: Decay = 5e-4
    """Weight decay."""
    decay_vectors: bool = True
    """Decay one-dimensional parameters (norms, biases) as well, as the CIFAR papers do."""
    clip_norm: NonNegative = 0.0
    """Clip the gradient's norm to this; 0: never."""
    clip_each: bool = False
    """Clip each parameter's own gradient, as Keras's clipnorm does, instead of all of them together."""

    def build(self, groups: list[dict[str, Any]]) -> "torch.optim.Optimizer":
        """The optimizer of groups of parameters, each with its "params" and "weight_decay".

        Its groups' "lr" is set before each step. Its state is tensors and plain values, as checkpoints hold no others.
        """
        raise UserError(f"optimizer: {type(self).__name__} has no `build`: write one, or use SGD, AdamW or Shampoo")

    @property
    def group_decay(self) -> float:
        """The groups' "weight_decay"."""
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
    """Weight decay."""
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    """Decay of the gradient's running mean and square."""
    decay: Literal["times-rate", "schedule-only", "constant"] = "times-rate"
    """times-rate: a step decays by rate × decay (torch); schedule-only: by (rate / peak rate) × decay (FunMatch);
    constant: by decay itself, whatever the rate (TensorFlow Addons)."""

    def build(self, groups: list[dict[str, Any]]) -> "torch.optim.Optimizer":
        from raykd.optimizers.fused import adamw

        return adamw(groups, self.learning_rate, self.betas, self.decay == "constant")

    @property
    def group_decay(self) -> float:
        """FunMatch's code decays by schedule × decay: torch's decay over the peak rate."""
        return self.weight_decay / self.learning_rate if self.decay == "schedule-only" else self.weight_decay


@dataclass(frozen=True, kw_only=True)
class Shampoo(Optimizer):
    """Shampoo (Gupta, Koren, Singer, ICML 2018) of pytorch-optimizer, which `raykd[shampoo]` installs."""

    learning_rate: Rate = 1e-3
    """Peak learning rate."""
    weight_decay: Decay = 1e-4
    """Decoupled weight decay."""
    momentum: Fraction = 0.9
    """Momentum factor."""
    preconditioning_every: PositiveInt = 10
    """Steps between two updates of the preconditioner."""

    def build(self, groups: list[dict[str, Any]]) -> "torch.optim.Optimizer":
        from raykd.optimizers.shampoo import shampoo

        return shampoo(groups, self.learning_rate, self.momentum, self.preconditioning_every)
