"""An exponential moving average of a distiller's weights."""

import copy

import torch
from torch import Tensor, nn

from raykd.contract import Distiller


class WeightAverage(nn.Module):
    """The average as a separate distiller, `module`; it starts as a copy of the weights after the first step.

    All floats, BatchNorm's statistics among them, are averaged in one operation; counters are copied.
    """

    def __init__(self, distiller: Distiller, decay: float):
        super().__init__()
        self.module = copy.deepcopy(distiller)
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, distiller: Distiller) -> None:
        """Update the average with the distiller's weights after a step."""
        pairs = list(zip(_tensors(self.module), _tensors(distiller), strict=True))
        averaged = [pair for pair in pairs if self.updates and pair[0].is_floating_point()]
        copied = [pair for pair in pairs if not (self.updates and pair[0].is_floating_point())]
        if averaged:
            torch._foreach_lerp_([mine for mine, _ in averaged], [new for _, new in averaged], 1 - self.decay)
        if copied:
            torch._foreach_copy_([mine for mine, _ in copied], [new for _, new in copied])
        self.updates += 1

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.updates)

    def set_extra_state(self, state: Tensor) -> None:
        self.updates = int(state)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]
