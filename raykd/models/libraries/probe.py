"""Measures a network: which blocks end its stages, which layer computes its logits."""

import contextlib
import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from raykd.models.staged import CAN_NOT_RUN
from raykd.models.staged.modes import evaluating

Layer = nn.Linear | nn.Conv2d  # layers that compute logits
LARGE = 224  # pixels


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


def stage_modules(model: nn.Module, image_size: int) -> list[str]:
    """Dotted names of the modules whose outputs are the maps of the last four stages, for any network.

    They are children of the outermost module whose children give maps of three or more sizes; where all maps have one
    size, as in a plain transformer, of the module with the most children that give maps.
    """
    sides = _sides(model, image_size)
    sequences = [[name for name in _children(path, module) if name in sides] for path, module in model.named_modules()]
    pyramids = [names for names in sequences if len({sides[name] for name in names}) >= 3]
    names = pyramids[0] if pyramids else max(sequences, key=len)
    return [names[end] for end in stage_ends([1 / sides[name] for name in names])]


def _children(path: str, module: nn.Module) -> list[str]:
    """Dotted names of a module's children, with those of lists, which don't run themselves."""
    names = []
    for name, child in module.named_children():
        inner = f"{path}.{name}".lstrip(".")
        names += _children(inner, child) if isinstance(child, nn.ModuleList) else [inner]
    return names


@torch.no_grad()
def _sides(model: nn.Module, image_size: int) -> dict[str, int]:
    """Sides of the maps that modules return, by dotted names, in the order in which the modules end.

    Measured without computing, on images so large that every stride shows, unless the network takes only its own size.
    """
    sides: dict[str, int] = {}
    abstract = copy.deepcopy(model).to("meta").eval()
    for name, module in abstract.named_modules():
        module.register_forward_hook(lambda module, inputs, output, name=name: _note(sides, name, output))
    for size in (max(image_size, LARGE), image_size):
        sides.clear()
        with contextlib.suppress(*CAN_NOT_RUN):
            abstract(torch.zeros(1, 3, size, size, device="meta"))
            break
    return {name: side for name, side in sides.items() if side > 1} or sides


def _note(sides: dict[str, int], name: str, output: Any) -> None:
    """Note the side of a map [B, D, h, w] or [B, h, w, D], or of tokens [B, N, D]."""
    if isinstance(output, torch.Tensor) and output.ndim in (3, 4):
        sides[name] = output.shape[2] if output.ndim == 4 else math.isqrt(output.shape[1])


@torch.no_grad()
def last_layer_run(model: nn.Module, num_classes: int, image_size: int) -> tuple[str, ...]:
    """Dotted name of the layer that ran last, of those with an output for each class; () if there is none.

    Unsuitable image sizes are no error here, as `Staged` reports them.
    """
    ran: list[str] = []
    with evaluating(model), contextlib.ExitStack() as hooks:
        for name, layer in model.named_modules():
            if isinstance(layer, Layer) and len(layer.weight) == num_classes:
                hooks.enter_context(layer.register_forward_hook(lambda *_, name=name: ran.append(name)))
        with contextlib.suppress(*CAN_NOT_RUN):
            model(torch.zeros(1, 3, image_size, image_size))
    return tuple(ran[-1:])
