"""Converts uint8 images in host memory to normalised floats on the device."""

import weakref

import numba
import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from raykd.contract import Placement
from raykd.data.config import Data
from raykd.data.device.compiled import once_per_machine
from raykd.data.device.transfer import CopyStream, Sent, to_device


@once_per_machine
@njit(parallel=True, cache=True, nogil=True, error_model="numpy")
def normalise(pixels: np.ndarray, factor: np.ndarray, offset: np.ndarray, planar: bool, out: np.ndarray) -> None:
    """out = pixels [B, S, S, 3] · factor − offset as float32, [B, 3, S, S] where planar, else [B, S, S, 3].

    factor and offset hold each channel's number for a row of pixels [3 S].
    """
    size = pixels.shape[1]
    for i in prange(len(pixels)):
        image, result = pixels[i].reshape(size, size * 3), out[i].reshape(size * size * 3)
        for y in range(size):
            if planar:
                for c in range(3):
                    row = result[(c * size + y) * size : (c * size + y + 1) * size]
                    for x in range(size):
                        row[x] = np.float32(np.int32(image[y, 3 * x + c])) * factor[c] - offset[c]
            else:
                row = result[y * size * 3 : (y + 1) * size * 3]
                for j in range(size * 3):
                    row[j] = np.float32(np.int32(image[y, j])) * factor[j] - offset[j]


class ArrayPool:
    """A pool of float arrays, reused once no tensor refers to them, as page faults of new memory would take longer than
    the normalisation."""

    def __init__(self) -> None:
        self.free: list[np.ndarray] = []

    def take(self, shape: tuple[int, ...]) -> Tensor:
        """An uninitialised tensor; its memory is reused once it and all its views are deleted."""
        count = int(np.prod(shape))
        memory = self.free.pop() if self.free else np.empty(0, np.float32)
        if len(memory) < count:
            memory = np.empty(count, np.float32)
        part = memory[:count]  # kept alive by the tensor's storage
        weakref.finalize(part, self.free.append, memory).atexit = False
        return torch.from_numpy(part).view(shape)


class Normalizer:
    """The conversion in two parts: `send`, called in the decoding thread, and `receive`, called by the reader.

    On a CPU, `send` normalises, some batches ahead. For a GPU it starts a copy, and `receive` normalises on the GPU.
    """

    def __init__(self, data: Data, placement: Placement, channels_last: bool):
        self.device = placement.device
        self.threads = max(1, min(placement.threads, numba.config.NUMBA_NUM_THREADS))
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        mean, std = data.statistics
        scale = torch.tensor(std, device=self.device) * 255.0
        offset = torch.tensor(mean, device=self.device) * 255.0 / scale
        # For a whole row of pixels: long runs of floats are several times faster than single channels.
        self.factor, self.offset = (1.0 / scale).repeat(data.image_size), offset.repeat(data.image_size)
        self.arrays = ArrayPool()
        self.copies = CopyStream(self.device) if self.device.type == "cuda" else None

    def send(self, pixels: np.ndarray) -> Tensor | Sent:
        """uint8 [B, S, S, 3] → the argument of `receive`; on return `pixels` may be overwritten."""
        return self.on_host(pixels) if self.copies is None else self.copies.send(torch.from_numpy(pixels))

    def receive(self, sent: Tensor | Sent) -> Tensor:
        """Normalised float32 [B, 3, S, S] on the device."""
        return self.on_device(sent.receive()) if isinstance(sent, Sent) else sent

    def on_host(self, pixels: np.ndarray) -> Tensor:
        count, size, _, channels = pixels.shape
        planar = self.format is torch.contiguous_format
        result = self.arrays.take((count, channels, size, size) if planar else pixels.shape)
        numba.set_num_threads(self.threads)
        normalise(pixels, self.factor.numpy(), self.offset.numpy(), planar, result.numpy())
        return result if planar else result.permute(0, 3, 1, 2)

    def on_device(self, pixels: Tensor) -> Tensor:
        """Bit-identical normalisation of pixels on the device: both have two roundings."""
        rows = pixels.view(-1, len(self.factor))
        result = rows.to(torch.float32).mul_(self.factor).sub_(self.offset)
        return result.view(pixels.shape).permute(0, 3, 1, 2).contiguous(memory_format=self.format)

    def to_device(self, values: Tensor) -> Tensor:
        """Labels or positions [B], copied to the device."""
        return to_device(values, self.device)
