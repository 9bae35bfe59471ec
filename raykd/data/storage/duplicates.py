"""Images that a data set has twice: of a test split they tell too much, of two labels one is wrong."""

from collections.abc import Iterator

import numpy as np

from raykd.data.storage.beton import WrittenSplit


def remarks(train: WrittenSplit, test: WrittenSplit) -> Iterator[str]:
    """Lines for the user if test images are also training images, or if one image has two labels."""
    again = int(np.isin(test.digests, train.digests).sum())
    if again:
        yield f"{again:,} of the {len(test.labels):,} test images are also training images"
    for split, written in (("training", train), ("test", test)):
        labelled = written.labels >= 0
        pairs = np.stack([written.digests[labelled], written.labels[labelled].astype(np.uint64)], 1)
        images, classes = np.unique(np.unique(pairs, axis=0)[:, 0], return_counts=True)
        if (classes > 1).any():
            yield f"{int((classes > 1).sum()):,} {split} images occur more than once, with different labels"
