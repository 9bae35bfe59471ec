"""torch's fused SGD and AdamW: one kernel a step, and a GPU skips steps with a non-finite gradient."""

from typing import Any

import torch

Groups = list[dict[str, Any]]  # "params" and "weight_decay" of each


def sgd(groups: Groups, rate: float, momentum: float, nesterov: bool) -> torch.optim.Optimizer:
    """SGD whose momentum buffers exist from the start: fused steps can't add one for a module that trains later."""
    optimizer = torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=nesterov, fused=True)
    if momentum:
        for group in optimizer.param_groups:
            for p in group["params"]:
                optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)
    return optimizer


def adamw(groups: Groups, rate: float, betas: tuple[float, float], constant_decay: bool) -> torch.optim.Optimizer:
    """AdamW. constant_decay: a step subtracts the decay itself, whatever the rate; else rate × decay, as in torch."""
    if not constant_decay:
        return torch.optim.AdamW(groups, lr=rate, betas=betas, fused=True)
    groups = [group | {"weight_decay": 0.0, "constant_decay": group["weight_decay"]} for group in groups]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=betas, fused=True)
    optimizer.register_step_pre_hook(_decay_by_a_constant)
    return optimizer


@torch.no_grad()
def _decay_by_a_constant(optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    for group in optimizer.param_groups:
        torch._foreach_mul_(group["params"], 1 - group["constant_decay"])
