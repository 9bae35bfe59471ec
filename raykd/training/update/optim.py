"""A recipe's optimizer, and the learning rate as a pure function of the step."""

from typing import Any

import torch
from torch import nn

from raykd import UserError
from raykd.recipe import Optimizer, Recipe
from raykd.recipe.length import initial_steps, total_steps


def build(config: Optimizer, module: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of all trainable parameters of a module; raises UserError for settings that can't be combined."""
    if config.clip_each and not config.clip_norm:
        raise UserError("`optimizer.clip_each` needs `optimizer.clip_norm`, the norm that each gradient is clipped to")
    return config.build(parameter_groups(module, config.group_decay, config.decay_vectors))


def parameter_groups(module: nn.Module, weight_decay: float, decay_vectors: bool) -> list[dict[str, Any]]:
    """One group, or two if one-dimensional parameters (norms, biases) have no weight decay."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    if decay_vectors:
        return [{"params": parameters, "weight_decay": weight_decay}]
    vectors = [p for p in parameters if p.ndim <= 1]
    tensors = [p for p in parameters if p.ndim > 1]
    return [{"params": tensors, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def learning_rate(recipe: Recipe, step: int, size: int) -> float:
    """The learning rate of update `step` (from 0) with `size` training samples; each phase has its own schedule."""
    first = initial_steps(recipe, size)
    phase = recipe.initialise if step < first else recipe
    step, total = (step, first) if step < first else (step - first, total_steps(recipe, size) - first)
    peak, schedule = phase.optimizer.learning_rate, phase.schedule
    if step < schedule.warmup_steps:
        return peak * step / schedule.warmup_steps
    return peak * schedule.share_of_peak(step, step * recipe.batch_size / size, total)
