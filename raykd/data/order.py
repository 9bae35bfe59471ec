"""Which sample stands where in the stream of training: pure functions of the seed.

Training reads one continuous stream, the concatenation of the epochs' permutations, cut into full global batches;
step s covers positions [s·B, (s+1)·B). Nothing is dropped or padded, and any step can be entered at once.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

PASS_SHIFT = 40
INDEX_MASK = (1 << PASS_SHIFT) - 1
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def splitmix64(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection of uint64 that looks random."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def keys(*parts) -> np.ndarray:
    """One uint64 array of keys from integers and integer arrays that broadcast; the order of the parts matters."""
    with np.errstate(over="ignore"):
        key = np.zeros(1, np.uint64)
        for part in parts:
            part = np.atleast_1d(np.asarray(part)).astype(np.uint64)
            key = splitmix64(key + GOLDEN + splitmix64(part + GOLDEN))
        return key


def uniform(*parts) -> np.ndarray:
    """Numbers in [0, 1) from keys of the same parts."""
    return (keys(*parts) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def numbers(key: np.ndarray, which: int | np.ndarray) -> np.ndarray:
    """Draw number `which` of each key, in [0, 1): a counter, not a generator, so any draw can be made at any time."""
    with np.errstate(over="ignore"):
        bits = splitmix64(key + GOLDEN * (np.asarray(which, np.uint64) + np.uint64(1)))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


@lru_cache(maxsize=4)
def permutation(seed: int, epoch: int, size: int) -> np.ndarray:
    """Epoch's order [size], the same on every machine: an argsort of hashes, not of a generator's stream."""
    order = np.argsort(keys(seed, epoch, np.arange(size)), kind="stable")
    order.setflags(write=False)
    return order


WINDOW = 32  # pages that are shuffled together, of 8 MiB each


def windowed(pages: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """A quasi-random order of samples that lie on these pages [n]: windows of random pages, shuffled inside.

    Reading the samples in this order needs each page during one window only. A function of the file, seed, and epoch.
    """
    present, place = np.unique(pages, return_inverse=True)
    window = permutation(seed, epoch, len(present)).argsort()[place] // WINDOW
    return np.lexsort((keys(seed, epoch, np.arange(len(pages))), window))


def part(rank: int, world: int, batch_size: int) -> tuple[int, int]:
    """First and last row (exclusive) of a worker in every global batch; parts may differ by one row."""
    return rank * batch_size // world, (rank + 1) * batch_size // world


def positions(start: int, stop: int, rows: np.ndarray, batch_size: int) -> np.ndarray:
    """Stream positions [stop − start, len(rows)] of these rows of global steps start … stop − 1."""
    return np.arange(start, stop, dtype=np.int64)[:, None] * batch_size + rows[None, :]


def tagged(where: np.ndarray, subset: np.ndarray, order_of: Callable[[int], np.ndarray]) -> np.ndarray:
    """Samples at stream positions, as index | pass << 40, the form in which they travel through FFCV.

    `order_of` gives the order [n] of the subset [n] in an epoch.
    """
    passes, slots = where // len(subset), where % len(subset)
    tags = np.empty_like(where)
    for epoch in np.unique(passes):
        here = passes == epoch
        tags[here] = subset[order_of(int(epoch))[slots[here]]] | (epoch << PASS_SHIFT)
    return tags


class Stream(NamedTuple):
    """Samples that are read again and again, in an order for each pass."""

    subset: np.ndarray  # [n] positions in the file
    order_of: Callable[[int], np.ndarray]  # pass → the subset's order [n]
    share: float  # of all that is read


def merged(where: np.ndarray, streams: Sequence[Stream]) -> np.ndarray:
    """As `tagged`, from one stream, or from two that are read in turn, spread evenly according to their shares."""
    first = streams[0]
    if len(streams) == 1:
        return tagged(where, first.subset, first.order_of)
    before, after = ((w * first.share).astype(np.int64) for w in (where, where + 1))  # of the first stream, so far
    mine, tags = after > before, np.empty_like(where)
    tags[mine] = tagged(before[mine], first.subset, first.order_of)
    tags[~mine] = tagged((where - before)[~mine], streams[1].subset, streams[1].order_of)
    return tags


def held_out(labels: np.ndarray, share: float) -> np.ndarray:
    """Mask [N] of the validation samples: of every class the same share, the same ones in every run.

    Samples without a label (−1) are never among them.
    """
    mask = np.zeros(len(labels), bool)
    for label in np.unique(labels[labels >= 0]):
        members = np.flatnonzero(labels == label)
        chosen = np.argsort(keys(0x56414C, members), kind="stable")[: round(share * len(members))]
        mask[members[chosen]] = True
    return mask
