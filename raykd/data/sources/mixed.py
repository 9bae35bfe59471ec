"""A labelled data set combined with unlabelled training images."""

from dataclasses import dataclass
from pathlib import Path

from raykd import UserError
from raykd.data.config import Source
from raykd.data.examples import Splits, concatenate, from_arrays
from raykd.data.reading.labels import NONE
from raykd.data.reading.listing import Skipped, find_images
from raykd.data.sources.files import from_files
from raykd.fields import Given


@dataclass(frozen=True, kw_only=True)
class Images(Source):
    """Images without labels, in a folder and the folders in it; for `Mixed`, which has the classes and a test split."""

    name = "images"
    description = "a folder of images without labels, flat or nested"
    unlabelled_images = True
    path: Given
    """The folder."""

    def open(self, root: Path, download: bool) -> Splits:
        base = Path(self.path).expanduser()
        if not base.is_dir():
            raise UserError(f"{base} does not exist: set data.source.path to a folder of images")
        skipped = Skipped(base)
        files = find_images(base, skipped)
        return Splits((), from_files(files, [NONE] * len(files)), from_arrays([], [], self.path), skipped.notes())


@dataclass(frozen=True, kw_only=True)
class Mixed(Source):
    """A labelled source, with the training images of another source as further, unlabelled ones.

    Classes and test split are those of the labelled source. `data.labelled_share` determines how many of each are read;
    with 0, training reads only unlabelled images.
    """

    name = "mixed"
    description = "a labelled source plus unlabelled images for training"
    unlabelled_images = True
    labelled: Source
    """Source of the classes, the labelled training images and the test split."""
    unlabelled: Source
    """Source of further training images, whose labels are ignored."""

    def paths(self) -> tuple[Path, ...]:
        return (*self.labelled.paths(), *self.unlabelled.paths())

    def open(self, root: Path, download: bool) -> Splits:
        splits, more = self.labelled.open(root, download), self.unlabelled.open(root, download)
        if not len(more.train.labels):
            raise UserError("; ".join(("data.source.unlabelled has no training images", *more.notes)))
        unlabelled = more.train._replace(labels=[NONE] * len(more.train.labels))
        return splits._replace(train=concatenate(splits.train, unlabelled), notes=(*splits.notes, *more.notes))
