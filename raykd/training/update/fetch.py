"""Where the host waits for the device, and nowhere else in training.

With several workers a device may itself wait for another one's, in a collective: a worker that stands here is no more
stuck than one that stands in a collective (see raykd.launch.run_state.state).
"""

from typing import Any

import torch
from torch import Tensor


def fetch(values: Tensor) -> Any:
    """A tensor's numbers, as `tolist` gives them."""
    return values.tolist()


def wait_for(event: torch.cuda.Event) -> None:
    """Until the device has come to an event."""
    event.synchronize()


def wait_for_all(device: torch.device) -> None:
    """Until the device has done all that it was told; a CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
