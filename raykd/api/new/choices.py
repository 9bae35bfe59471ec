"""Settings of a new recipe: measured on the images, or chosen by their number and size."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from raykd import UserError
from raykd.api.new import methods
from raykd.api.new.options import NewOptions
from raykd.api.new.source import source_of
from raykd.data.config import Data, Prepared, Source
from raykd.data.storage.header import open_header
from raykd.data.storage.prepare import Tick, prepare
from raykd.models import create

SMALL = 64  # pixels: images up to this size are trained on as they are, with padded crops
STEPS = 3000  # updates that a training from scratch gets at least, where that is no more than MOST passes
LEAST, MOST = 30, 100  # passes


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Measurements on the images, and the settings that were chosen."""

    options: NewOptions
    source: Source
    prepared: Prepared
    method: methods.Entry
    teachers: int
    image_size: int
    batch_size: int
    epochs: int
    learning_rate: float
    warmup_steps: int
    smallest: tuple[int, str] = field(default=(0, ""))  # images of the class with the fewest, and its name

    @property
    def as_they_are(self) -> bool:
        """Whether all images have the size that the networks get."""
        return self.prepared.sides == (self.image_size, self.image_size)


def choose(options: NewOptions, progress: Tick, download: bool) -> Choices:
    """Measure the images and try the networks, and choose settings that fit; raises UserError if they can't be used."""
    method, source = methods.entry(options.method), source_of(options.data)
    if method.needs_teacher and not options.teacher:
        raise UserError(f"{options.method} needs --teacher, a network such as timm:resnet18 or the directory of a run")
    if options.teacher and not method.needs_teacher:
        raise UserError(f"{options.method} doesn't use a teacher: remove --teacher")
    prepared = prepare(Data(source=source, image_size=1), download=download, progress=progress)
    size = options.image_size or size_for(prepared)
    classes = len(prepared.classes)
    if classes < 2 or prepared.train_size <= prepared.unlabelled:
        raise UserError(f"{options.data} has {classes} class(es) with labelled images, but two are needed: add images")

    def new(name: str) -> Callable:
        return lambda: create(name, classes, size)

    teacher = options.teacher if options.teacher and not is_run(options.teacher) else options.student
    teachers = methods.fitting(method, new(options.student), new(teacher), prepared.train_size)
    batch = batch_for(prepared.train_size)
    steps = max(1, prepared.train_size // batch)
    epochs = int(np.clip(-(-STEPS // steps), LEAST, MOST))
    return Choices(
        options=options,
        source=source,
        prepared=prepared,
        method=method,
        teachers=teachers,
        image_size=size,
        batch_size=batch,
        epochs=epochs,
        learning_rate=rate_for(batch, options.pretrained),
        warmup_steps=max(1, epochs * steps // 20),
        smallest=smallest_class(prepared),
    )


def is_run(word: str) -> bool:
    """Whether a teacher is the directory of a run."""
    return Path(word, "recipe.json").is_file()


def size_for(prepared: Prepared) -> int:
    """Small images as they are; larger ones at a multiple of 32 pixels that none must be enlarged to, 224 at most."""
    least = prepared.sides[0] if prepared.sides else 224
    return least if least <= SMALL else min(224, least // 32 * 32)


def batch_for(images: int) -> int:
    """A power of two with at least 20 batches in a pass, from 8 to 128."""
    return int(2 ** np.clip(np.floor(np.log2(max(1, images / 20))), 3, 7))


def rate_for(batch: int, pretrained: bool) -> float:
    """AdamW's peak rate: 1e-3 for a batch of 128, by its square root for others; a fifth of it for fine-tuning."""
    rate = 1e-3 * (batch / 128) ** 0.5 * (0.2 if pretrained else 1.0)
    return float(f"{rate:.1g}")


def smallest_class(prepared: Prepared) -> tuple[int, str]:
    """Training images of the class with the fewest, and its name."""
    labels = open_header(prepared.train, prepared).labels
    counts = np.bincount(labels[labels >= 0], minlength=len(prepared.classes))
    least = int(counts.argmin())
    return int(counts[least]), prepared.classes[least]
