"""A data set in which only a few training images keep their labels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raykd import UserError
from raykd.data.config import Source
from raykd.data.examples import Splits
from raykd.data.reading.labels import NONE
from raykd.fields import PositiveInt, Seed


@dataclass(frozen=True, kw_only=True)
class FewLabels(Source):
    """A labelled source of which only a few training images of each class keep their labels.

    The others become unlabelled training images; with `data.labelled_share=1` they are left out. The test split is
    unchanged.
    """

    name = "fewlabels"
    description = "a labelled source that keeps only a few labels per class"
    unlabelled_images = True
    source: Source
    """The labelled source."""
    per_class: PositiveInt = 10
    """Training images of each class that keep their labels."""
    seed: Seed = 0
    """Seed of the random choice of these images."""

    def paths(self) -> tuple[Path, ...]:
        return self.source.paths()

    def open(self, root: Path, download: bool) -> Splits:
        """As of the labelled source; raises UserError if a class has fewer labelled images than `per_class`."""
        splits = self.source.open(root, download)
        labels = np.asarray(splits.train.labels)
        random, few = np.random.default_rng(self.seed), np.full(len(labels), NONE)
        for number, name in enumerate(splits.classes):
            members = np.flatnonzero(labels == number)
            if len(members) < self.per_class:
                there = f"class {name} has {len(members)} labelled images"
                raise UserError(f"data.source.per_class: {self.per_class}, but {there}: lower it")
            few[random.choice(members, self.per_class, replace=False)] = number
        return splits._replace(train=splits.train._replace(labels=few.tolist()))
