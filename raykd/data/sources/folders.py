"""Data sets in folders of images: any ImageFolder, ImageNet, Tiny-ImageNet."""

from dataclasses import dataclass
from pathlib import Path

from raykd import UserError
from raykd.data.config import Source
from raykd.data.examples import Examples, Splits, concatenate, split_off_test
from raykd.data.reading.labels import NONE
from raykd.data.reading.listing import Skipped, find_images, subfolders
from raykd.data.reading.pictures import suffixes
from raykd.data.sources.files import column, folder, from_files, from_folders, lines
from raykd.fields import Fraction, Given

SPLIT_NAMES = ("train", "training", "val", "valid", "validation", "test", "testing")  # names of splits


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Source):
    """PATH/train/CLASS/… and PATH/val/CLASS/…, image files of any format that PIL reads.

    Without val a share of train is the test split; without both, PATH/CLASS/… is train.
    """

    name = "imagefolder"
    description = "any folder with train/CLASS/*.jpg and val/CLASS/*.jpg, or only train, or only classes"
    path: Given
    """The folder."""
    train: str = "train"
    """Subfolder of the training split; empty: all training images are unlabelled."""
    test: str = "val"
    """Subfolder of the test split; empty: a share of the training split is held out."""
    unlabelled: str = ""
    """Subfolder of unlabelled training images, flat or nested; empty: none."""
    test_share: Fraction = 0.2
    """Share of each class held out as test split if there is no subfolder for it."""

    def paths(self) -> tuple[Path, ...]:
        base = Path(self.path).expanduser()
        existing = [base / name for name in (self.train, self.test, self.unlabelled) if name and (base / name).exists()]
        return tuple(existing) or (base,)

    def open(self, root: Path, download: bool) -> Splits:
        base = Path(self.path).expanduser()
        if not base.is_dir():
            raise UserError(f"{base} does not exist: set data.source.path to a folder of images")
        train, test = self._folders(base)
        skipped = [Skipped(each) for each in (train or base, test or base, base / self.unlabelled)]
        classes = subfolders(train or test or base, skipped[0] if train else skipped[1])
        examples = from_folders(train, classes, skipped[0]) if train else from_files([], [])
        if test is None:
            splits = split_off_test(classes, examples, self.test_share, str(train))
        else:
            tested, notes = self._test(test, classes, skipped[1] if train else Skipped(test))
            splits = Splits(classes, examples, tested, notes)
        if self.unlabelled:
            files = find_images(base / self.unlabelled, skipped[2])
            if not files:
                raise UserError(f"{base / self.unlabelled} has no images: correct data.source.unlabelled")
            splits = splits._replace(train=concatenate(splits.train, from_files(files, [NONE] * len(files))))
        return splits._replace(notes=(*splits.notes, *(note for part in skipped for note in part.notes())))

    def _folders(self, base: Path) -> tuple[Path | None, Path | None]:
        """Folders of the training split and the test split; None if there is none."""
        train, test = base / self.train if self.train else None, base / self.test if self.test else None
        if train is None:
            if not self.unlabelled or test is None:
                raise UserError(
                    "imagefolder: if data.source.train is empty, data.source.unlabelled and data.source.test must be "
                    "set"
                )
            return None, test
        if train.is_dir():
            if test is None or not test.is_dir():
                self._expect_no_test(base)
                return train, None
            return train, test
        names = subfolders(base, Skipped(base))
        has_images = any(contains_images(base / name) for name in names)
        if self.train != "train" or not has_images or any(name.lower() in SPLIT_NAMES for name in names):
            loose = "; images outside class folders have no label: see images and mixed in `raykd list datasets`"
            raise UserError(
                f"{train} is missing: data.source.path must contain {self.train}/CLASS and optionally "
                f"{self.test}/CLASS (for other names set data.source.train and test), or a folder of class folders"
                + (loose if contains_images(base) else "")
            )
        return base, None

    def _expect_no_test(self, base: Path) -> None:
        others = [name for name in subfolders(base, Skipped(base)) if name not in (self.train, self.unlabelled)]
        if self.test and others:
            raise UserError(
                f"{base / self.test} is missing: set data.source.test to the folder of the test split "
                f"({', '.join(others[:3])}), or to an empty name if there is none"
            )

    @staticmethod
    def _test(base: Path, classes: tuple[str, ...], skipped: Skipped) -> tuple[Examples, tuple[str, ...]]:
        """The test split, and notes about it."""
        extra = sorted(set(subfolders(base, skipped)) - set(classes))
        if extra:
            raise UserError(
                f"{base} has classes without training images: {', '.join(extra[:3])}; remove them, or add training "
                "images"
            )
        test_examples = from_folders(base, classes, skipped)
        missing = [classes[i] for i in sorted(set(range(len(classes))) - set(test_examples.labels))]
        note = f"{base} has no image of {len(missing)} classes: {', '.join(missing[:3])}"
        return test_examples, (note,) if missing else ()


def contains_images(base: Path) -> bool:
    """Whether a folder contains images, those of its folders not counted."""
    return any(path.suffix.lower() in suffixes() for path in base.iterdir())


@dataclass(frozen=True, kw_only=True)
class ImageNet(Source):
    """ImageNet-1k (ILSVRC 2012) as torchvision lays it out: train/WNID/*.JPEG and val/WNID/*.JPEG."""

    name = "imagenet"
    description = "ImageNet-1k, 1.28 M images, 1000 classes: train/WNID and val/WNID; can't be downloaded"
    path: str = ""
    """The folder with train and val."""

    def open(self, root: Path, download: bool) -> Splits:
        base = folder(self, self.path, "train", "val")
        skipped = Skipped(base)
        classes = subfolders(base / "train", skipped)
        parts = [from_folders(base / split, classes, skipped) for split in ("train", "val")]
        return Splits(classes, parts[0], parts[1], skipped.notes())


@dataclass(frozen=True, kw_only=True)
class TinyImageNet(Source):
    """Tiny-ImageNet-200 as its archive unpacks; the test split is the labelled val split."""

    name = "tiny-imagenet"
    description = "Tiny-ImageNet, 100,000 images of 64×64, 200 classes; can't be downloaded"
    path: str = ""
    """The folder tiny-imagenet-200."""

    def open(self, root: Path, download: bool) -> Splits:
        base = folder(self, self.path, "train", "val/val_annotations.txt", "wnids.txt", "words.txt")
        ids = sorted(lines(base / "wnids.txt"))
        table = lines(base / "words.txt")
        words = dict(zip(*(column(table, i, base / "words.txt", "\t") for i in (0, 1)), strict=True))
        annotations = base / "val" / "val_annotations.txt"
        names, wnids = (column(lines(annotations), i, annotations, "\t") for i in (0, 1))
        unknown = sorted({*wnids, *ids} - (set(ids) & set(words)))
        if unknown:
            raise UserError(f"{base}: {unknown[0]} is not in both wnids.txt and words.txt: restore the data set")
        test = from_files([base / "val" / "images" / name for name in names], [ids.index(wnid) for wnid in wnids])
        skipped = Skipped(base / "train")
        return Splits(
            tuple(words[wnid] for wnid in ids), from_folders(base / "train", ids, skipped), test, skipped.notes()
        )
