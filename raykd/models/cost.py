"""Counts the cost of a network's forward pass."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def flops(network: nn.Module, image_size: int, device: torch.device | str = "cpu") -> int:
    """Multiply-adds of the forward pass of one image, counted by torch.

    With gradients, as the counter doesn't know the fused attention that torch uses without them, and fails at modules
    that take parameters as inputs.
    """
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, 3, image_size, image_size, device=device))
    return counter.get_total_flops() // 2
