"""Data sets that torchvision or Hugging Face's `datasets` know: read from disk, or downloaded where that is allowed."""

import inspect
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from raykd import UserError
from raykd.data.config import Source
from raykd.data.sources.examples import Examples, Splits


def open_torchvision(source: Source, kind: str, folder: Path, download: bool, **settings):
    """One split of a torchvision data set; raises UserError where it is not there."""
    import torchvision

    known = getattr(torchvision.datasets, kind, None)
    if known is None:
        raise UserError(f"torchvision has no data set {kind!r}: see torchvision.datasets for their names")
    if "download" in inspect.signature(known.__init__).parameters:
        settings["download"] = download
    try:
        return known(str(folder), **settings)
    except (RuntimeError, OSError) as error:
        advice = "put it there" if download else "put it there, or add --download"
        raise UserError(f"{kind} is not in {folder} ({error}): {advice}") from None


def from_torchvision(dataset, origin: str) -> Examples:
    """Examples of a torchvision data set, without decoding its images where it gives its labels otherwise."""
    import numpy as np

    labels = next((getattr(dataset, key) for key in ("targets", "_labels", "labels") if hasattr(dataset, key)), None)
    if labels is None:
        labels = [dataset[i][1] for i in range(len(dataset))]
    labels = [int(label) for label in labels]
    return Examples(labels, lambda i: np.asarray(dataset[i][0].convert("RGB")), lambda i: f"{origin}, image {i}")


def class_names(dataset, labels) -> tuple[str, ...]:
    """The data set's own class names, else their numbers."""
    count = max(labels) + 1
    names = tuple(getattr(dataset, "classes", ()))
    return names if len(names) >= count else tuple(str(label) for label in range(count))


@dataclass(frozen=True, kw_only=True)
class _Torchvision(Source):
    """A torchvision data set of a fixed kind."""

    kind: ClassVar[str]
    splits: ClassVar[tuple[dict, dict]]
    path: str = ""
    """Folder that torchvision keeps it in; empty: `downloads` below data.root."""

    def open(self, root: Path, download: bool) -> Splits:
        folder = Path(self.path).expanduser() if self.path else root / "downloads"
        parts = [open_torchvision(self, self.kind, folder, download, **split) for split in self.splits]
        examples = [from_torchvision(part, self.name) for part in parts]
        return Splits(class_names(parts[0], examples[0].labels + examples[1].labels), *examples)


@dataclass(frozen=True, kw_only=True)
class CIFAR10(_Torchvision):
    """CIFAR-10 (Krizhevsky 2009): 50,000 to train, 10,000 to test."""

    name: ClassVar[str] = "cifar10"
    description: ClassVar[str] = "CIFAR-10, 60,000 images of 32×32, 10 classes"
    kind: ClassVar[str] = "CIFAR10"
    splits: ClassVar[tuple[dict, dict]] = ({"train": True}, {"train": False})


@dataclass(frozen=True, kw_only=True)
class CIFAR100(_Torchvision):
    """CIFAR-100 (Krizhevsky 2009): 50,000 to train, 10,000 to test."""

    name: ClassVar[str] = "cifar100"
    description: ClassVar[str] = "CIFAR-100, 60,000 images of 32×32, 100 classes"
    kind: ClassVar[str] = "CIFAR100"
    splits: ClassVar[tuple[dict, dict]] = ({"train": True}, {"train": False})


@dataclass(frozen=True, kw_only=True)
class Flowers102(_Torchvision):
    """Oxford Flowers 102: 1,020 to train, 6,149 to test; the 1,020 of its val split are left out."""

    name: ClassVar[str] = "flowers102"
    description: ClassVar[str] = "Oxford Flowers, 1,020 to train and 6,149 to test, 102 classes"
    kind: ClassVar[str] = "Flowers102"
    splits: ClassVar[tuple[dict, dict]] = ({"split": "train"}, {"split": "test"})


@dataclass(frozen=True, kw_only=True)
class Pet37(_Torchvision):
    """Oxford-IIIT Pet: 3,680 to train, 3,669 to test."""

    name: ClassVar[str] = "pet37"
    description: ClassVar[str] = "Oxford-IIIT Pet, 7,349 images, 37 breeds"
    kind: ClassVar[str] = "OxfordIIITPet"
    splits: ClassVar[tuple[dict, dict]] = ({"split": "trainval"}, {"split": "test"})


@dataclass(frozen=True, kw_only=True)
class Food101(_Torchvision):
    """Food-101: 75,750 to train, 25,250 to test."""

    name: ClassVar[str] = "food101"
    description: ClassVar[str] = "Food-101, 101,000 images of up to 512 pixels, 101 classes"
    kind: ClassVar[str] = "Food101"
    splits: ClassVar[tuple[dict, dict]] = ({"split": "train"}, {"split": "test"})


@dataclass(frozen=True, kw_only=True)
class Torchvision(Source):
    """Any classification data set of torchvision by its class's name."""

    name: ClassVar[str] = "torchvision"
    description: ClassVar[str] = "any classification data set of torchvision, by name"
    kind: str
    """Its class in torchvision.datasets, such as SVHN."""
    train: str = "train"
    """Its name of the training split, where it takes one."""
    test: str = "test"
    """Its name of the test split, where it takes one."""
    path: str = ""
    """Folder that torchvision keeps it in; empty: `downloads` below data.root."""

    def open(self, root: Path, download: bool) -> Splits:
        import torchvision

        known = getattr(torchvision.datasets, self.kind, None)
        parameters = inspect.signature(known.__init__).parameters if known else {}
        splits = ({"split": self.train}, {"split": self.test})
        if "train" in parameters:
            splits = ({"train": True}, {"train": False})
        folder = Path(self.path).expanduser() if self.path else root / "downloads"
        parts = [open_torchvision(self, self.kind, folder, download, **split) for split in splits]
        examples = [from_torchvision(part, self.kind) for part in parts]
        return Splits(class_names(parts[0], examples[0].labels + examples[1].labels), *examples)


@dataclass(frozen=True, kw_only=True)
class HuggingFace(Source):
    """A data set of the Hugging Face hub by its name, or a folder that `Dataset.save_to_disk` wrote."""

    name: ClassVar[str] = "huggingface"
    description: ClassVar[str] = "any image data set of the Hugging Face hub, by name, or saved to a folder"
    dataset: str
    """Name on the hub, or a folder."""
    train: str = "train"
    """Its training split."""
    test: str = "test"
    """Its test split."""
    image: str = "image"
    """The column of images."""
    label: str = "label"
    """The column of class numbers."""

    def open(self, root: Path, download: bool) -> Splits:
        found = _open_huggingface(self.dataset, root / "downloads" / "huggingface", download)
        missing = [split for split in (self.train, self.test) if split not in found]
        if missing:
            raise UserError(f"{self.dataset} has no split {missing[0]!r}; it has {', '.join(found)}")
        names = getattr(found[self.train].features.get(self.label), "names", None)
        parts = [self._split(found[split], split) for split in (self.train, self.test)]
        count = max(max(part.labels) for part in parts) + 1
        return Splits(tuple(names) if names else tuple(str(i) for i in range(count)), *parts)

    def _split(self, split, name: str) -> Examples:
        import numpy as np

        missing = {self.image, self.label} - set(split.column_names)
        if missing:
            raise UserError(f"{self.dataset} has no column {missing.pop()!r}; it has {', '.join(split.column_names)}")
        return Examples(
            list(split[self.label]),
            lambda i: np.asarray(split[i][self.image].convert("RGB")),
            lambda i: f"{self.dataset}, {name}, image {i}",
        )


@contextmanager
def _offline(wanted: bool):
    """Keep Hugging Face's libraries from trying the network, each look-up for long; they read the variable but once."""
    import datasets
    import huggingface_hub.constants

    places = (huggingface_hub.constants, datasets.config)
    before = [place.HF_HUB_OFFLINE for place in places]
    for place, value in zip(places, before, strict=True):
        place.HF_HUB_OFFLINE = value or wanted
    try:
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = value


def _open_huggingface(name: str, cache: Path, download: bool):
    try:
        import datasets
    except ImportError:
        raise UserError("Hugging Face's datasets is missing: pip install datasets") from None
    if Path(name).expanduser().is_dir():
        return datasets.load_from_disk(str(Path(name).expanduser()))
    config = datasets.DownloadConfig(local_files_only=not download)
    try:
        with _offline(not download):
            return datasets.load_dataset(name, cache_dir=str(cache), download_config=config)
    except (OSError, ValueError) as error:
        advice = "check its name" if download else "save it to a folder, or add --download"
        raise UserError(f"{name} is not in {cache} ({str(error).splitlines()[0]}): {advice}") from None
