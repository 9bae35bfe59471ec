"""Classification of images by a run's deployed network, exactly as in the run's evaluations."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from raykd import UserError
from raykd.data.reading.listing import Skipped, find_images
from raykd.data.reading.pictures import Picture, read_rgb
from raykd.deploy.pixels import check_sizes, evaluation_images
from raykd.recipe import Recipe
from raykd.runs.student import read_student
from raykd.storage.folder import Folder
from raykd.teachers.precision import autocast
from raykd.training.process import use_device


class Prediction(NamedTuple):
    """A class and its predicted probability."""

    name: str
    """Name of the class."""
    probability: float
    """Its probability, from 0 to 1."""


class Predictor:
    """Classifies images with the preprocessing and the precision of the run's evaluations; see `Run.predictor`.

    An image is a path, the bytes of an image file, a uint8 array [H, W, 3], or an image of PIL.
    """

    def __init__(self, run: Folder, recipe: Recipe, device: str = "auto", batch_size: int = 64):
        """Load the network. recipe: the run's.

        device: "cpu", "cuda", or "auto": a GPU if available. batch_size: images at once.
        Raises UserError if the run has no network, and for "cuda" without a GPU.
        """
        staged, about = read_student(run)
        self.classes, self.device, self.batch_size = about.classes, _device(device), batch_size
        self.data = replace(recipe.data, image_size=about.image_size, mean=about.mean, std=about.std)
        if self.device.type == "cuda":
            use_device(self.device, recipe.precision, 1.0)
        self.network = staged.eval().requires_grad_(False).to(self.device)
        self.precision, self.channels_last = autocast(recipe, self.device), recipe.precision.channels_last

    def predict(self, given: Iterable[Picture | str], top: int = 5) -> list[list[Prediction]]:
        """The `top` most probable classes of each image, the most probable first.

        Raises UserError with its path, or its number from 0, for an image that can't be read or has an invalid size.
        """
        return [self.named(row, top) for row in self.probabilities(given)]

    def probabilities(self, given: Iterable[Picture | str]) -> np.ndarray:
        """Probabilities of all classes for N images, float32 [N, C]; raises UserError as `predict` does."""
        pixels = (self.read(picture, f"picture {number}") for number, picture in enumerate(given))
        parts = [self.classify(part) for part in in_batches(pixels, self.batch_size)]
        return np.concatenate(parts) if parts else np.empty((0, len(self.classes)), np.float32)

    @torch.inference_mode()
    def classify(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities [N, C] of N decoded images, uint8 [H, W, 3] each, computed as one batch."""
        images = evaluation_images(pixels, self.data, self.device, self.channels_last)
        with self.precision():
            logits = self.network(images)
        return logits.float().softmax(1).cpu().numpy()

    def read(self, picture: Picture | str, name: str = "a picture") -> np.ndarray:
        """Decode an image to uint8 [H, W, 3]; raises UserError with its path or `name` if it can't be used."""
        if isinstance(picture, str | Path):
            picture, name = Path(picture), str(picture)
        try:
            pixels = read_rgb(picture, self.data.encoding.ground, self.data.encoding.white)
        except (OSError, ValueError) as error:
            raise UserError(f"{name} can't be read: {getattr(error, 'strerror', None) or error}") from None
        check_sizes([pixels], self.data, name)
        return pixels

    def named(self, probabilities: np.ndarray, top: int) -> list[Prediction]:
        """The `top` most probable classes, from one image's probabilities [C]."""
        order = np.argsort(-probabilities, kind="stable")[:top]
        return [Prediction(self.classes[i], float(probabilities[i])) for i in order]


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device: cuda, but PyTorch finds no GPU on this machine; use cpu")
    return torch.device("cuda" if name == "cuda" or name == "auto" and torch.cuda.is_available() else "cpu")


def in_batches(items: Iterable, size: int) -> Iterator[list]:
    """Lists of up to `size` items, in order."""
    items = iter(items)
    while part := list(itertools.islice(items, size)):
        yield part


def image_files(paths: Iterable[str]) -> list[Path]:
    """The named image files, and all image files below named folders. Raises UserError if one does not exist."""
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            below = find_images(path, Skipped(path))
            if not below:
                raise UserError(f"{path} contains no image files: give image files or folders of them")
            files += below
        elif path.exists():
            files.append(path)
        else:
            raise UserError(f"{path} does not exist: give image files or folders of them")
    return files
