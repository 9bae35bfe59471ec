"""Fine-grained, scene, and action data sets, in the layouts that their archives unpack to."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from raykd import UserError
from raykd.data.config import Source
from raykd.data.examples import Examples, Splits
from raykd.data.reading.listing import Skipped, subfolders
from raykd.data.sources.files import folder, from_files, lines

READ_LISTS = """
import json, sys
from scipy.io import loadmat
table = loadmat(sys.argv[1])
names = [str(row[0].item()) for row in table["file_list"]]
print(json.dumps([names, [int(row[0]) for row in table["labels"]]]))
"""


@dataclass(frozen=True, kw_only=True)
class CUB200(Source):
    """Caltech-UCSD Birds 200-2011 with its own split: 5,994 to train, 5,794 to test."""

    name = "cub200"
    description = "CUB-200-2011, 11,788 birds, 200 classes; can't be downloaded"
    path: str = ""
    """The folder CUB_200_2011."""

    def open(self, root: Path, download: bool) -> Splits:
        base = folder(self, self.path, "images", "images.txt", "train_test_split.txt", "classes.txt")
        table = {name: dict(map(str.split, lines(base / f"{name}.txt"))) for name in ("images", "train_test_split")}
        labels = dict(map(str.split, lines(base / "image_class_labels.txt")))
        classes = tuple(line.split()[1].split(".", 1)[-1] for line in lines(base / "classes.txt"))

        def split(flag: str) -> Examples:
            chosen = [image for image, value in table["train_test_split"].items() if value == flag]
            paths = [base / "images" / table["images"][image] for image in chosen]
            return from_files(paths, [int(labels[image]) - 1 for image in chosen])

        return Splits(classes, split("1"), split("0"))


@dataclass(frozen=True, kw_only=True)
class StanfordDogs(Source):
    """Stanford Dogs with its own split: 12,000 to train, 8,580 to test."""

    name = "stanford-dogs"
    description = "Stanford Dogs, 20,580 images, 120 breeds; can't be downloaded"
    path: str = ""
    """The folder with Images, train_list.mat, and test_list.mat."""

    def open(self, root: Path, download: bool) -> Splits:
        base = folder(self, self.path, "Images", "train_list.mat", "test_list.mat")
        classes = tuple(name.split("-", 1)[-1] for name in subfolders(base / "Images", Skipped(base)))
        return Splits(classes, self._split(base, "train"), self._split(base, "test"))

    def _split(self, base: Path, split: str) -> Examples:
        names, labels = read_list(base / f"{split}_list.mat")
        return from_files([base / "Images" / name for name in names], [label - 1 for label in labels])


def read_list(path: Path) -> tuple[list[str], list[int]]:
    """Names of the images and their labels, from 1, of one of Stanford Dogs' lists; raises UserError if it is damaged.

    Read in a separate process, as SciPy's reader of .mat files may crash on damaged ones.
    """
    done = subprocess.run([sys.executable, "-c", READ_LISTS, str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{path} can't be read, it may be damaged: restore the file")
    names, labels = json.loads(done.stdout)
    if len(names) != len(labels):
        raise UserError(f"{path} has {len(names)} file names but {len(labels)} labels: restore the file")
    return names, labels


@dataclass(frozen=True, kw_only=True)
class MIT67(Source):
    """MIT Indoor Scenes with its own split: 80 to train and 20 to test of each class."""

    name = "mit67"
    description = "MIT Indoor Scenes, 6,700 images, 67 classes; can't be downloaded"
    path: str = ""
    """The folder with Images, TrainImages.txt, and TestImages.txt."""

    def open(self, root: Path, download: bool) -> Splits:
        base = folder(self, self.path, "Images", "TrainImages.txt", "TestImages.txt")
        train, test = lines(base / "TrainImages.txt"), lines(base / "TestImages.txt")
        classes = tuple(sorted({line.split("/")[0] for line in train}))

        def split(names: list[str]) -> Examples:
            return from_files(
                [base / "Images" / name for name in names], [classes.index(n.split("/")[0]) for n in names]
            )

        return Splits(classes, split(train), split(test))


@dataclass(frozen=True, kw_only=True)
class Stanford40(Source):
    """Stanford 40 Actions with its own split: 100 to train of each class."""

    name = "stanford40"
    description = "Stanford 40 Actions, 9,532 images, 40 classes; can't be downloaded"
    path: str = ""
    """The folder with JPEGImages and ImageSplits."""

    def open(self, root: Path, download: bool) -> Splits:
        base = folder(self, self.path, "JPEGImages", "ImageSplits")
        lists = sorted((base / "ImageSplits").glob("*_train.txt"))
        classes = tuple(path.name.removesuffix("_train.txt") for path in lists)

        def split(suffix: str) -> Examples:
            names = [lines(base / "ImageSplits" / f"{action}_{suffix}.txt") for action in classes]
            labels = [label for label, group in enumerate(names) for _ in group]
            return from_files([base / "JPEGImages" / name for group in names for name in group], labels)

        return Splits(classes, split("train"), split("test"))
