"""Optimizers from their configs, and the learning rate as a pure function of the step."""

import math
from typing import Any

import torch
from torch import nn

from raykd import UserError
from raykd.recipe import SGD, AdamW, Cosine, Optimizer, Piecewise, Recipe, Schedule, Shampoo, Steps
from raykd.recipe.length import initial_steps, total_steps


def build(config: Optimizer, module: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of all of a module's parameters that train."""
    if config.clip_each and not config.clip_norm:
        raise UserError("`optimizer.clip_each` needs `optimizer.clip_norm`, the norm that each gradient is clipped to")
    groups = parameter_groups(module, decay(config), config.decay_vectors)
    if isinstance(config, SGD):
        return _sgd(config, groups)
    if isinstance(config, AdamW):
        return _adamw(config, groups)
    if isinstance(config, Shampoo):
        from raykd.training.update.shampoo import shampoo

        return shampoo(config, groups)
    raise UserError(f"optimizer: {type(config).__name__} is not one of SGD, AdamW, Shampoo")


def _sgd(config: SGD, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """SGD whose velocities are there from the start: fused steps can't make one later, when a module joins in late."""
    rate, momentum, nesterov = config.learning_rate, config.momentum, config.nesterov
    optimizer = torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=nesterov, fused=True)
    if config.momentum:
        for group in optimizer.param_groups:
            for p in group["params"]:
                optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)
    return optimizer


def _adamw(config: AdamW, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    if config.decay != "constant":
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)
    groups = [group | {"weight_decay": 0.0, "constant_decay": group["weight_decay"]} for group in groups]
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)
    optimizer.register_step_pre_hook(_decay_by_a_constant)
    return optimizer


@torch.no_grad()
def _decay_by_a_constant(optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    for group in optimizer.param_groups:
        torch._foreach_mul_(group["params"], 1 - group["constant_decay"])


def decay(config: Optimizer) -> float:
    """torch's weight_decay; FunMatch's official code decays by schedule × decay, which is torch's decay ÷ peak rate."""
    if isinstance(config, AdamW) and config.decay == "schedule-only":
        return config.weight_decay / config.learning_rate
    return config.weight_decay


def parameter_groups(module: nn.Module, weight_decay: float, decay_vectors: bool) -> list[dict[str, Any]]:
    """One group, or two where one-dimensional parameters (norms, biases) don't decay."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    if decay_vectors:
        return [{"params": parameters, "weight_decay": weight_decay}]
    vectors = [p for p in parameters if p.ndim <= 1]
    tensors = [p for p in parameters if p.ndim > 1]
    return [{"params": tensors, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def learning_rate(recipe: Recipe, step: int, size: int) -> float:
    """The rate of update number `step` (from 0) with `size` training samples; each phase has its own schedule."""
    first = initial_steps(recipe, size)
    phase = recipe.initialise if step < first else recipe
    step, total = (step, first) if step < first else (step - first, total_steps(recipe, size) - first)
    peak, schedule = phase.optimizer.learning_rate, phase.schedule
    if step < schedule.warmup_steps:
        return peak * step / schedule.warmup_steps
    return peak * _factor(schedule, step, step * recipe.batch_size / size, total)


def _factor(schedule: Schedule, step: int, epoch: float, total: int) -> float:
    if isinstance(schedule, Cosine):
        passed = (step - schedule.warmup_steps) / max(1, total - schedule.warmup_steps)
        return schedule.final + (1 - schedule.final) * 0.5 * (1 + math.cos(math.pi * min(1.0, passed)))
    if isinstance(schedule, Steps):
        return schedule.factor ** sum(epoch >= milestone for milestone in schedule.milestones)
    if isinstance(schedule, Piecewise):
        return ([1.0] + [share for start, share in schedule.shares if epoch >= start])[-1]
    return 1.0
