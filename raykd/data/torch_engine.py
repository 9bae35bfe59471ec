"""The same batches from PyTorch's DataLoader, PIL and torchvision, for machines without FFCV: much slower."""

import io
from collections.abc import Callable, Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional as F

from raykd.data import order
from raykd.data.augment import colour
from raykd.data.augment.geometry import Geometry, boxes
from raykd.data.augment.pipeline import Pipeline
from raykd.data.device.normalize import Normalizer
from raykd.data.order import INDEX_MASK, PASS_SHIFT
from raykd.data.storage.header import Header


class Samples(Dataset):
    """Tag → augmented uint8 [S, S, 3], and whether the stored image was corrupt."""

    def __init__(self, header: Header, pipeline: Pipeline, tags: np.ndarray):
        self.header, self.pipeline, self.tags = header, pipeline, tags

    def __len__(self) -> int:
        return len(self.tags)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        tag, size = self.tags[position], self.pipeline.geometry.size
        index = tag & INDEX_MASK
        try:
            image = decode(self.header, index)
        except (OSError, ValueError, SyntaxError):
            return torch.zeros(size, size, 3, dtype=torch.uint8), 1
        key = order.keys(self.pipeline.seed, tag >> PASS_SHIFT, index)
        edges, flips = boxes(self.pipeline.geometry, key, self.header.shapes[index][None])
        image = cut(image, self.pipeline.geometry, edges[0], bool(flips[0]))
        pixels = image.permute(1, 2, 0).contiguous()
        self.pipeline.recolour(pixels.numpy()[None], key, self._recolour)
        return pixels, 0

    def _recolour(self, images: np.ndarray, programs: np.ndarray) -> None:
        """The built-in steps of one image [1, S, S, 3], in place, by torchvision."""
        image = torch.from_numpy(images[0]).permute(2, 0, 1)
        for entry in programs[0]:
            image = recolour(image, entry, self.pipeline)
        images[0] = image.permute(1, 2, 0).numpy()


def decode(header: Header, index: int) -> Tensor:
    """The stored image, uint8 [3, H, W]; raises OSError or ValueError if it is corrupt."""
    height, width = header.shapes[index]
    data = np.fromfile(header.path, np.uint8, header.sizes[index], offset=header.offsets[index])
    if header.jpeg[index]:
        data = np.array(Image.open(io.BytesIO(data.tobytes())).convert("RGB"))
    return torch.from_numpy(data.reshape(height, width, 3)).permute(2, 0, 1)


def cut(image: Tensor, geometry: Geometry, edges: np.ndarray, flip: bool) -> Tensor:
    """The box (edges [4]) of an image [3, H, W], cropped and resized to the geometry's size: [3, S, S]."""
    size, (_, height, width) = geometry.size, image.shape
    if geometry.crops_first:
        image = F.resized_crop(image, *(int(edge) for edge in edges), [size, size], antialias=True)
    elif geometry.resize:
        short = geometry.resize.size
        image = F.resize(image, [short] if geometry.resize.keep_aspect else [short, short], antialias=True)
        top, left = round(edges[0] * image.shape[1] / height), round(edges[1] * image.shape[2] / width)
        image = F.crop(image, top, left, size, size)
    elif geometry.crop:
        padding = geometry.padding
        padded = F.pad(image, [padding] * 4, fill=geometry.fill)
        image = F.crop(padded, int(edges[0]) + padding, int(edges[1]) + padding, size, size)
    return F.hflip(image) if flip else image


# Operations as functions of an image [3, S, S] and their value.
OPERATIONS: dict[int, Callable[[Tensor, float], Tensor]] = {
    colour.SHEAR_X: lambda image, value: F.affine(image, 0.0, [0, 0], 1.0, [_degrees(value), 0.0], center=[0, 0]),
    colour.SHEAR_Y: lambda image, value: F.affine(image, 0.0, [0, 0], 1.0, [0.0, _degrees(value)], center=[0, 0]),
    colour.TRANSLATE_X: lambda image, value: F.affine(image, 0.0, [int(value), 0], 1.0, [0.0, 0.0]),
    colour.TRANSLATE_Y: lambda image, value: F.affine(image, 0.0, [0, int(value)], 1.0, [0.0, 0.0]),
    colour.ROTATE: F.rotate,
    colour.BRIGHTNESS: F.adjust_brightness,
    colour.SATURATION: F.adjust_saturation,
    colour.CONTRAST: F.adjust_contrast,
    colour.SHARPNESS: F.adjust_sharpness,
    colour.POSTERIZE: lambda image, value: F.posterize(image, int(value)),
    colour.SOLARIZE: F.solarize,
    colour.AUTOCONTRAST: lambda image, value: F.autocontrast(image),
    colour.EQUALIZE: lambda image, value: F.equalize(image),
    colour.HUE: F.adjust_hue,
}


def _degrees(shear: float) -> float:
    return float(np.degrees(np.arctan(shear)))


def recolour(image: Tensor, entry: np.ndarray, pipeline: Pipeline) -> Tensor:
    """One operation of a colour program on an image [3, S, S]."""
    operation, value, size = int(entry[0]), float(entry[1]), image.shape[-1]
    if operation in OPERATIONS:
        return OPERATIONS[operation](image, value)
    if operation == colour.CUTOUT:
        edges = (value, value + pipeline.side, entry[2], entry[2] + pipeline.side)
        top, bottom, left, right = (min(max(int(edge), 0), size) for edge in edges)
        image = image.clone()
        image[:, top:bottom, left:right] = torch.tensor(pipeline.fill, dtype=torch.uint8)[:, None, None]
    return image


class TorchEngine:
    """Decoded batches of one .beton file, by worker processes."""

    def __init__(self, header: Header, pipeline: Pipeline, normalizer: Normalizer, *, rows: int):
        self.header, self.pipeline, self.normalizer, self.rows = header, pipeline, normalizer, rows
        self.workers = normalizer.threads if normalizer.threads > 1 else 0

    def read(self, tags: np.ndarray) -> Iterator[Tensor]:
        """Normalised images [B, 3, S, S] of tags [n]; the last batch may be smaller."""
        samples = Samples(self.header, self.pipeline, tags)
        loader = DataLoader(samples, batch_size=self.rows, num_workers=self.workers)
        for number, (images, status) in enumerate(loader):
            self.header.check_status(tags[number * self.rows : (number + 1) * self.rows], status.numpy())
            yield self.normalizer.receive(self.normalizer.send(images.contiguous().numpy()))
