"""A network's own head applied to places of its last map, for networks whose head reads the map's mean."""

import torch
from torch import Tensor

from raykd import UserError
from raykd.models.staged import Staged


def apply_head(network: Staged, vectors: Tensor) -> Tensor:
    """Logits of pooled vectors: [..., D] → [..., C]."""
    logits = network.run_from("head", vectors.flatten(0, -2), ()).logits
    return logits.reshape(*vectors.shape[:-1], logits.shape[-1])


@torch.no_grad()
def expect_mean_pooling(method: str, network: Staged) -> None:
    """Raise UserError unless what enters the network's head is the mean of its last stage's map."""
    shape = network.shapes[network.last_stage]
    if len(shape) == 3 and network.shapes["pooled"] == shape[:1] and network.is_chain:
        probe = torch.linspace(-1, 1, shape[0] * shape[1] * shape[2]).reshape(1, *shape)
        probe = probe.to(next(network.parameters()))
        pooled = network.run_from("pooled", probe, ("pooled",)).features["pooled"]
        if torch.allclose(pooled, probe.mean((2, 3)), atol=1e-5):
            return
    raise UserError(f"{method} needs a head that reads the mean of the last map, which {network.name} does not have")
