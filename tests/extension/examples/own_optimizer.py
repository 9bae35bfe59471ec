"""A custom optimizer: Lion (Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms").

raykd train own_optimizer.py
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from raykd.fields import Fraction
from raykd.recipe import Decay, Optimizer, Rate
from raykd.recipes.digits.supervised import recipe as digits


@dataclass(frozen=True, kw_only=True)
class Lion(Optimizer):
    """Updates every weight by ± the learning rate: the sign of a moving average of its gradients."""

    learning_rate: Rate = 1e-3
    """Peak learning rate."""
    weight_decay: Decay = 0.1
    """Decoupled weight decay."""
    betas: tuple[Fraction, Fraction] = (0.9, 0.99)
    """Decay rates of the average whose sign is the update, and of the average that is stored."""

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return Signs(groups, {"lr": self.learning_rate, "betas": self.betas})


class Signs(torch.optim.Optimizer):
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        for group in self.param_groups:
            first, second = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                average = self.state[p].setdefault("average", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(torch.lerp(p.grad, average, first).sign_(), alpha=-group["lr"])
                average.lerp_(p.grad, 1 - second)


recipe = replace(digits, optimizer=Lion())
