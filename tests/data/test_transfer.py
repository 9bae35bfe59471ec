"""Transfers to a GPU that lags behind the host: it receives the batch as sent, even if the slot was reused."""

import numpy as np
import pytest
import torch

from raykd.contract import Placement
from raykd.data.device import transfer
from raykd.data.device.normalize import Normalizer
from raykd.data.device.transfer import to_device
from raykd.data.loader import TestLoader, TrainLoader
from raykd.data.storage.prepare import prepare
from raykd.recipes.digits.supervised import recipe


class LaggingGPU:
    """A device that reads each pinned copy only when `read_all` is called; otherwise unlike a GPU."""

    def __init__(self):
        self.pending = []

    def send(self, values):
        """Like `CopyStream.send`: copies now, and reads late."""
        pinned = torch.empty_like(values).copy_(values)  # `transfer.to_device` without the pinning and the GPU
        self.pending.append((pinned, values.numpy().copy()))
        return pinned

    def receive(self, pinned):
        return pinned


def test_a_staged_copy_has_its_own_memory(monkeypatch):
    """Also if the source is already pinned, in which case `pin_memory` would return the source itself."""
    asked = []
    empty_like = torch.empty_like

    def pinned_like(values, pin_memory=False):
        asked.append(pin_memory)
        return empty_like(values)

    monkeypatch.setattr(torch, "empty_like", pinned_like)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    sent = []
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device, non_blocking: sent.append((self, non_blocking)))
    source = torch.arange(4)
    to_device(source, torch.device("cuda", 0))
    ((staged, non_blocking),) = sent
    assert asked == [True] and non_blocking
    source.zero_()
    assert staged.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("loader", ["ffcv", "torch"])
@pytest.mark.parametrize("kind", ["train", "test"])
def test_batches_do_not_change_after_transfer(monkeypatch, loader, kind):
    """All batches of a pass are sent before the device reads the first one: FFCV's slots have been reused many
    times."""
    from dataclasses import replace

    gpu = LaggingGPU()
    monkeypatch.setattr(Normalizer, "send", lambda self, pixels: gpu.send(torch.from_numpy(pixels)))
    monkeypatch.setattr(Normalizer, "receive", lambda self, pinned: gpu.receive(pinned))
    data = replace(recipe.data, loader=loader)
    placement = Placement(torch.device("cpu"), 1)
    if kind == "train":
        opened = TrainLoader(data, prepare(data), placement, batch_size=16, seed=0)
        batches = list(opened.batches(0, 40))
    else:
        opened = TestLoader(data, prepare(data), placement, batch_size=16)
        batches = list(opened.batches())
    assert len(gpu.pending) == len(batches) > 20
    addresses = {pinned.data_ptr() for pinned, _ in gpu.pending}
    assert len(addresses) == len(gpu.pending)
    for pinned, at_once in gpu.pending:
        assert np.array_equal(pinned.numpy(), at_once)


def test_ffcv_never_uses_the_gpu():
    """Its slots are ordinary memory, and it creates no CUDA streams."""
    from raykd.data.ffcv import imports

    wanted = imports.AllocationQuery((3, 2), np.dtype("u1"))
    slots = imports.graph.allocate_query(wanted, 5, 4)
    assert type(slots) is np.ndarray and slots.shape == (4, 5, 3, 2) and slots.dtype == np.uint8
    assert imports.epoch_iterator.IS_CUDA is False


def test_a_copy_stream_orders_the_reader_after_the_copy(monkeypatch):
    """The reader's stream waits for the copy, the host does not, and the memory is kept until it has been read."""
    from tests.support.simulated_gpu import CUDA, Trace, simulated_gpu

    with simulated_gpu(), Trace() as trace:
        calls = []
        stream = transfer.CopyStream(CUDA)
        sent = stream.send(torch.zeros(4, dtype=torch.uint8))
        reader = type("Reader", (), {"wait_event": lambda self, event: calls.append(event)})()
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: reader)
        monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: calls.append(stream))
        received = sent.receive()
        assert calls == [sent.arrived, reader] and received.device == CUDA
    assert not trace.waits
