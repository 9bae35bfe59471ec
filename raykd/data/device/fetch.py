"""All places in training and in teachers where the host waits for the device.

With several workers a device may itself wait for another one's, in a collective: a worker that waits here counts as
waiting in a collective (see raykd.launch.run_state.client).
"""

from typing import Any

import torch
from torch import Tensor


def fetch(values: Tensor) -> Any:
    """A tensor's numbers, as from `tolist`."""
    return values.tolist()


def wait_for(event: torch.cuda.Event) -> None:
    """Wait until the device has reached an event."""
    event.synchronize()


def wait_for_all(device: torch.device) -> None:
    """Wait until the device has finished all queued work; a no-op on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
