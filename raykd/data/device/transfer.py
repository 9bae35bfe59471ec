"""Asynchronous copies between host and GPU that never read memory which has changed meanwhile."""

from typing import NamedTuple

import torch
from torch import Tensor


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """A host's tensor on a device; on return the host may overwrite `values`, though a GPU may not have read it yet.

    A GPU reads a pinned copy that nobody else holds. Its memory goes back to PyTorch's cache at once, and the cache
    awaits the event of this reading before it hands the memory out again.
    """
    if device.type != "cuda" or values.device.type == "cuda":
        return values.to(device)
    # Not `values.pin_memory()`: of a tensor that is pinned already it gives the tensor itself.
    return torch.empty_like(values, pin_memory=True).copy_(values).to(device, non_blocking=True)


class Fetched(NamedTuple):
    """A copy to host memory that the GPU may not have completed yet."""

    tensor: Tensor
    arrived: torch.cuda.Event | None

    def wait(self) -> Tensor:
        """The copy, once it is complete; called by threads other than the training loop's, which must not wait."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.tensor


def to_host(values: Tensor) -> Fetched:
    """Begin a copy to new host memory; later changes of `values` do not affect it."""
    on_gpu = values.device.type == "cuda"
    copy = torch.empty_like(values, device="cpu", pin_memory=on_gpu).copy_(values, non_blocking=on_gpu)
    if not on_gpu:
        return Fetched(copy, None)
    arrived = torch.cuda.Event()
    arrived.record(torch.cuda.current_stream(values.device))
    return Fetched(copy, arrived)


class Sent(NamedTuple):
    """A tensor that is being copied to a GPU."""

    tensor: Tensor
    arrived: torch.cuda.Event

    def receive(self) -> Tensor:
        """The tensor, for work that is queued on the GPU from now on; the GPU waits for the copy, the host does not."""
        reader = torch.cuda.current_stream(self.tensor.device)
        reader.wait_event(self.arrived)
        self.tensor.record_stream(reader)  # the memory belongs to the copy stream: not to be reused while it is read
        return self.tensor


class CopyStream:
    """Copies to a GPU concurrently with its other work, from any thread."""

    def __init__(self, device: torch.device):
        self.device, self.stream = device, torch.cuda.Stream(device)

    def send(self, values: Tensor) -> Sent:
        """Start a copy; on return `values` may be overwritten."""
        with torch.cuda.stream(self.stream):
            tensor = to_device(values, self.device)
            return Sent(tensor, self.stream.record_event())
