"""Data sets that lie in folders of images: any ImageFolder, ImageNet, Tiny-ImageNet."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from raykd import UserError
from raykd.data.config import Source
from raykd.data.sources.examples import Splits
from raykd.data.sources.files import folder, from_files, from_folders, lines, subfolders


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Source):
    """PATH/train/CLASS/… and PATH/val/CLASS/…, image files of any format that PIL reads."""

    name: ClassVar[str] = "imagefolder"
    description: ClassVar[str] = "any folder with train/CLASS/*.jpg and val/CLASS/*.jpg"
    path: str
    """The folder."""
    train: str = "train"
    """Its folder of the training split."""
    test: str = "val"
    """Its folder of the test split."""

    def open(self, root: Path, download: bool) -> Splits:
        base = folder(self, self.path, self.train, self.test)
        classes = subfolders(base / self.train)
        extra = set(subfolders(base / self.test)) - set(classes)
        if extra:
            raise UserError(f"{base / self.test} has classes that training lacks: {', '.join(sorted(extra)[:3])}")
        return Splits(classes, *(from_folders(base / split, classes) for split in (self.train, self.test)))


@dataclass(frozen=True, kw_only=True)
class ImageNet(Source):
    """ImageNet-1k (ILSVRC 2012) as torchvision lays it out: train/WNID/*.JPEG and val/WNID/*.JPEG."""

    name: ClassVar[str] = "imagenet"
    description: ClassVar[str] = (
        "ImageNet-1k, 1.28 M images, 1000 classes: train/WNID and val/WNID; can't be downloaded"
    )
    path: str = ""
    """The folder with train and val."""

    def open(self, root: Path, download: bool) -> Splits:
        base = folder(self, self.path, "train", "val")
        classes = subfolders(base / "train")
        return Splits(classes, from_folders(base / "train", classes), from_folders(base / "val", classes))


@dataclass(frozen=True, kw_only=True)
class TinyImageNet(Source):
    """Tiny-ImageNet-200 as its archive unpacks; the test split is the labelled val split."""

    name: ClassVar[str] = "tiny-imagenet"
    description: ClassVar[str] = "Tiny-ImageNet, 100,000 images of 64×64, 200 classes; can't be downloaded"
    path: str = ""
    """The folder tiny-imagenet-200."""

    def open(self, root: Path, download: bool) -> Splits:
        base = folder(self, self.path, "train", "val/val_annotations.txt", "wnids.txt", "words.txt")
        ids = sorted(lines(base / "wnids.txt"))
        words = dict(line.split("\t", 1) for line in lines(base / "words.txt"))
        annotations = [line.split("\t") for line in lines(base / "val" / "val_annotations.txt")]
        paths = [base / "val" / "images" / row[0] for row in annotations]
        test = from_files(paths, [ids.index(row[1]) for row in annotations])
        return Splits(tuple(words[wnid] for wnid in ids), from_folders(base / "train", ids), test)
