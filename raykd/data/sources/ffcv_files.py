"""Files of FFCV's own writer, such as ffcv-imagenet's, read in place, without a copy."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raykd import UserError
from raykd.data.config import Prepared, Source
from raykd.data.examples import Splits
from raykd.data.reading.labels import NONE, expect_all
from raykd.data.reading.listing import content_digest
from raykd.data.storage.header import Header
from raykd.fields import ClassNames, Given

MEND = "write it again"


@dataclass(frozen=True, kw_only=True)
class Beton(Source):
    """Images (JPEG, raw, or some of each) and integer labels in FFCV's .beton files, among any other fields.

    −1: a missing label.
    """

    name = "beton"
    description = "existing .beton files of FFCV, read in place"
    train: Given
    """The file of training images."""
    test: str = ""
    """The file of test images; empty: none, so that `data.validation` must hold out training images."""
    image: str = ""
    """Name of the image field; empty: the only one."""
    label: str = ""
    """Name of the label field; empty: "label", or the only integer field."""
    classes: ClassNames = ()
    """Names of the labels 0, 1, …; empty: their numbers."""

    def paths(self) -> tuple[Path, ...]:
        return tuple(Path(path).expanduser() for path in (self.train, self.test) if path)

    def open(self, root: Path, download: bool) -> Splits:
        raise UserError("beton: existing .beton files are read in place: they need no preparation, and can't be mixed")

    def prepared(self) -> Prepared:
        paths = self.paths()
        train, *test = (Header(path, image=self.image, label=self.label, repair=MEND) for path in paths)
        labels = np.concatenate([header.labels for header in (train, *test)])
        most = len(self.classes) or len(labels)
        if not len(labels) or not NONE <= labels.min() <= labels.max() < most:
            shown = f"labels {labels.min()} to {labels.max()}" if len(labels) else "no images"
            raise UserError(f"{train.path} has {shown}, but must have labels from 0 to at most {most - 1}")
        classes = self.classes or tuple(map(str, range(int(labels.max()) + 1)))
        expect_all(train.labels, classes)
        sides = np.concatenate([header.shapes for header in (train, *test)])
        return Prepared(
            train=paths[0],
            test=paths[1] if test else None,
            classes=classes,
            train_size=len(train.labels),
            test_size=len(test[0].labels) if test else 0,
            image=train.image,
            label=train.label,
            unlabelled=int((train.labels == NONE).sum()),
            repair=MEND,
            identity=f"beton-{content_digest(paths)[:16]}",
            sides=(int(sides.min()), int(sides.max())),
        )
