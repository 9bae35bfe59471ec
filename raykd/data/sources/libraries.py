"""Data sets of torchvision and of Hugging Face's `datasets`: read from disk, or downloaded if that is allowed."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from raykd import UserError
from raykd.data.config import Source
from raykd.data.examples import Examples, Splits, numbered
from raykd.data.reading.labels import NONE, renumbered
from raykd.data.sources.files import ALLOW
from raykd.data.sources.hub import expect_sound, open_splits, stored
from raykd.fields import Fraction, Given


def from_torchvision(dataset: Any, origin: str) -> Examples:
    """Examples of a torchvision data set; images are decoded only if it has no list of labels."""
    labels = next((getattr(dataset, key) for key in ("targets", "_labels", "labels") if hasattr(dataset, key)), None)
    if labels is None:
        labels = [dataset[i][1] for i in range(len(dataset))]
    return Examples([int(label) for label in labels], lambda i: dataset[i][0], lambda i: f"{origin}, image {i}")


def open_torchvision(kind: str, train: str, test: str, path: str, root: Path, download: bool) -> Splits:
    """Both splits of a torchvision data set, with torchvision's class names if it has them.

    train, test: names of the splits, for data sets that have several. path: their folder; empty: one below the root.
    Raises UserError if they are not there.
    """
    import torchvision

    dataset = getattr(torchvision.datasets, kind, None)
    if dataset is None:
        raise UserError(f"torchvision has no data set {kind!r}: see torchvision.datasets for their names")
    folder = Path(path).expanduser() if path else root / "downloads"
    parameters = inspect.signature(dataset.__init__).parameters
    splits = ({"train": True}, {"train": False}) if "train" in parameters else ({"split": train}, {"split": test})
    settings = {"download": download} if "download" in parameters else {}
    try:
        parts = [dataset(str(folder), **split, **settings) for split in splits]
    except (RuntimeError, OSError) as error:
        advice = "put it there" if download else f"put it there, or {ALLOW}"
        raise UserError(f"{kind} is not in {folder} ({error}): {advice}") from None
    trained, tested = (from_torchvision(part, kind) for part in parts)
    names = tuple(map(str, getattr(parts[0], "classes", ())))
    count = max((*trained.labels, *tested.labels), default=-1) + 1
    return Splits(names if len(names) >= count else tuple(map(str, range(count))), trained, tested)


@dataclass(frozen=True, kw_only=True)
class _Torchvision(Source):
    """A torchvision data set of a fixed kind."""

    kind: ClassVar[str]
    train: ClassVar[str] = "train"
    test: ClassVar[str] = "test"
    path: str = ""
    """Folder in which torchvision stores it; empty: `downloads` below data.root."""

    def open(self, root: Path, download: bool) -> Splits:
        return open_torchvision(self.kind, self.train, self.test, self.path, root, download)


@dataclass(frozen=True, kw_only=True)
class CIFAR10(_Torchvision):
    """CIFAR-10 (Krizhevsky 2009): 50,000 to train, 10,000 to test."""

    name = "cifar10"
    description = "CIFAR-10, 60,000 images of 32×32, 10 classes"
    kind = "CIFAR10"


@dataclass(frozen=True, kw_only=True)
class CIFAR100(_Torchvision):
    """CIFAR-100 (Krizhevsky 2009): 50,000 to train, 10,000 to test."""

    name = "cifar100"
    description = "CIFAR-100, 60,000 images of 32×32, 100 classes"
    kind = "CIFAR100"


@dataclass(frozen=True, kw_only=True)
class Flowers102(_Torchvision):
    """Oxford Flowers 102: 1,020 to train, 6,149 to test; the 1,020 of its val split are left out."""

    name = "flowers102"
    description = "Oxford Flowers, 1,020 to train and 6,149 to test, 102 classes"
    kind = "Flowers102"


@dataclass(frozen=True, kw_only=True)
class Pet37(_Torchvision):
    """Oxford-IIIT Pet: 3,680 to train, 3,669 to test."""

    name = "pet37"
    description = "Oxford-IIIT Pet, 7,349 images, 37 breeds"
    kind = "OxfordIIITPet"
    train = "trainval"


@dataclass(frozen=True, kw_only=True)
class Food101(_Torchvision):
    """Food-101: 75,750 to train, 25,250 to test."""

    name = "food101"
    description = "Food-101, 101,000 images of up to 512 pixels, 101 classes"
    kind = "Food101"


@dataclass(frozen=True, kw_only=True)
class Torchvision(Source):
    """Any classification data set of torchvision by its class's name."""

    name = "torchvision"
    description = "any classification data set of torchvision, by name"
    kind: str
    """Name of its class in torchvision.datasets, such as SVHN."""
    train: str = "train"
    """The class's `split` of training images, if it has that argument."""
    test: str = "test"
    """The class's `split` of test images, if it has that argument."""
    path: str = ""
    """Folder in which torchvision stores it; empty: `downloads` below data.root."""

    def open(self, root: Path, download: bool) -> Splits:
        return open_torchvision(self.kind, self.train, self.test, self.path, root, download)


@dataclass(frozen=True, kw_only=True)
class HuggingFace(Source):
    """A data set of the Hugging Face hub by its name, or a folder that `Dataset.save_to_disk` wrote."""

    name = "huggingface"
    description = "any image data set of the Hugging Face hub, by name, or saved to a folder"
    dataset: Given
    """Name on the hub, or a folder."""
    train: str = "train"
    """Name of the training split."""
    test: str = "test"
    """Name of the test split; if there is none, a share of the training split is held out."""
    image: str = "image"
    """Name of the column of images."""
    label: str = "label"
    """Name of the column of labels, numbers or text; empty: there is none."""
    test_share: Fraction = 0.2
    """Share of each class held out as test split if there is none."""

    def paths(self) -> tuple[Path, ...]:
        path = Path(self.dataset).expanduser()
        return (path,) if path.is_dir() else ()

    def open(self, root: Path, download: bool) -> Splits:
        splits = open_splits(self.dataset, self.train, root / "downloads" / "huggingface", download)
        if self.train not in splits:
            names = ", ".join(splits)
            raise UserError(f"{self.dataset} has no split {self.train!r}; it has {names}: set data.source.train")
        train, test = splits[self.train], splits.get(self.test)
        expect_sound(self.dataset, train, test)
        classes = tuple(getattr(train.features.get(self.label), "names", None) or ())
        trained = self._examples(train, classes, self.train)
        tested = None if test is None else self._examples(test, classes, self.test)
        return numbered(trained, tested, classes, self.test_share, self.dataset)

    def _labels(self, split: Any, classes: tuple[str, ...]) -> list[Any]:
        """The labels of a split, as numbers of `classes` if its column has class labels.

        In Hugging Face's data sets, −1 means that there is no label. A split may number its classes in its own order.
        """
        for name in filter(None, (self.image, self.label)):
            if name not in split.column_names:
                columns = ", ".join(split.column_names)
                raise UserError(
                    f"{self.dataset} has no column {name!r}; it has {columns}: set data.source.image and label"
                )
        if not self.label:
            return [None] * len(split)
        values = list(split[self.label])
        own = tuple(getattr(split.features[self.label], "names", None) or ())
        return [
            None if classes and value == NONE else value for value in renumbered(values, own, classes, self.dataset)
        ]

    def _examples(self, split: Any, classes: tuple[str, ...], name: str) -> Examples:
        import datasets

        labels = self._labels(split, classes)
        if isinstance(split.features[self.image], datasets.Image):  # bytes as stored: `read_rgb` decodes them
            split = split.cast_column(self.image, datasets.Image(decode=False))
        return Examples(labels, lambda i: stored(split[i][self.image]), lambda i: f"{self.dataset}, {name}, image {i}")
