"""From uint8 images in the host's memory to normalised floats on the device."""

import numpy as np
import torch
from torch import Tensor

from raykd.data.config import Data


class Finisher:
    def __init__(self, data: Data, device: torch.device | str, channels_last: bool):
        self.device = torch.device(device)
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        scale = torch.tensor(data.std, device=self.device) * 255.0
        offset = torch.tensor(data.mean, device=self.device) * 255.0 / scale
        # One row of pixels: long runs of floats are worked on several times faster than channels apart.
        self.factor, self.offset = (1.0 / scale).repeat(data.image_size), offset.repeat(data.image_size)

    def images(self, pixels: np.ndarray) -> Tensor:
        """uint8 [B, S, S, 3] → float32 [B, 3, S, S]; on return `pixels` may be overwritten."""
        rows = self.moved(torch.from_numpy(pixels)).view(-1, len(self.factor))
        result = rows.to(torch.float32).mul_(self.factor).sub_(self.offset)
        return result.view(pixels.shape).permute(0, 3, 1, 2).contiguous(memory_format=self.format)

    def moved(self, values: Tensor) -> Tensor:
        """A host's tensor on the device, without waiting for what the device is doing.

        The pinned copy is the allocator's, which does not hand it out again before the device has read it.
        """
        if self.device.type != "cuda":
            return values.to(self.device)
        return values.pin_memory().to(self.device, non_blocking=True)
