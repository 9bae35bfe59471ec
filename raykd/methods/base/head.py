"""Applies a network's head to parts of its last map, for networks whose head reads the map's mean."""

import torch
from torch import Tensor

from raykd import UserError
from raykd.models.staged import Staged, find_chain


def apply_head(network: Staged, vectors: Tensor) -> Tensor:
    """Logits of pooled vectors: [..., D] → [..., C]."""
    logits = network.run_from("head", vectors.flatten(0, -2), ()).logits
    return logits.reshape(*vectors.shape[:-1], logits.shape[-1])


@torch.no_grad()
def pools_by_mean(network: Staged) -> bool:
    """Whether the input of the network's head is the mean of its last stage's map."""
    shape = network.shapes[network.last_stage]
    if len(shape) != 3 or network.shapes["pooled"] != shape[:1] or not network.is_chain:
        return False
    probe = torch.linspace(-1, 1, shape[0] * shape[1] * shape[2]).reshape(1, *shape)
    probe = probe.to(next(network.parameters()))
    pooled = network.run_from("pooled", probe, ("pooled",)).features["pooled"]
    return torch.allclose(pooled, probe.mean((2, 3)), atol=1e-5)


def expect_mean_pooling(method: str, network: Staged) -> None:
    """Raise UserError unless the input of the network's head is the mean of its last stage's map."""
    find_chain(network)
    if not pools_by_mean(network):
        what = "a head that reads the spatial mean of the last feature map"
        raise UserError(f"{method} requires {what}, which {network.name} does not have: use another network")
