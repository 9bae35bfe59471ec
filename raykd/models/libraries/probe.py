"""Measures a network: which blocks end its stages, which layer computes its logits."""

import contextlib
from collections.abc import Sequence

import torch
from torch import nn

from raykd.models.staged import CAN_NOT_RUN

Layer = nn.Linear | nn.Conv2d  # layers that compute logits


def stage_ends(reductions: Sequence[float]) -> list[int]:
    """Positions of the blocks that end the last four stages, from each block's reduction of the map's side.

    A stage ends where the next map is smaller. If all maps have one size, as in a plain transformer, the stages are
    quarters of it.
    """
    count = len(reductions)
    last = [i for i in range(count) if i + 1 == count or reductions[i + 1] != reductions[i]]
    if len(last) == 1 and count >= 4:
        return [-(-count * quarter // 4) - 1 for quarter in (1, 2, 3, 4)]
    return last[-4:]


@torch.no_grad()
def last_layer_run(model: nn.Module, num_classes: int, image_size: int) -> tuple[str, ...]:
    """Dotted name of the layer that ran last, of those with an output for each class; () if there is none.

    Unsuitable image sizes are no error here, as `Staged` reports them.
    """
    ran: list[str] = []
    hooks = [
        layer.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, layer in model.named_modules()
        if isinstance(layer, Layer) and len(layer.weight) == num_classes
    ]
    training = model.training
    try:
        with contextlib.suppress(*CAN_NOT_RUN):
            model.eval()(torch.zeros(1, 3, image_size, image_size))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return tuple(ran[-1:])
