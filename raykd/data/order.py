"""The order of samples in the training stream: pure functions of the seed.

Training reads one continuous stream, the concatenation of the epochs' permutations, cut into full global batches;
step s covers positions [s·B, (s+1)·B). Nothing is dropped or padded, and any step can be entered at once.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

PASS_SHIFT = 40
INDEX_MASK = (1 << PASS_SHIFT) - 1
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def splitmix64(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele et al. 2014), a bijective hash of uint64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def keys(*parts: int | np.ndarray) -> np.ndarray:
    """Keys, uint64, from integers and integer arrays that broadcast; the order of the parts matters."""
    with np.errstate(over="ignore"):
        key = np.zeros(1, np.uint64)
        for part in parts:
            part = np.atleast_1d(np.asarray(part)).astype(np.uint64)
            key = splitmix64(key + GOLDEN + splitmix64(part + GOLDEN))
        return key


def uniform(*parts: int | np.ndarray) -> np.ndarray:
    """Uniform numbers in [0, 1), float64, from the keys of these parts."""
    return (keys(*parts) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def numbers(key: np.ndarray, which: int | np.ndarray) -> np.ndarray:
    """Random number `which` of each key, in [0, 1): counter-based, so that any number can be drawn at any time."""
    with np.errstate(over="ignore"):
        bits = splitmix64(key + GOLDEN * (np.asarray(which, np.uint64) + np.uint64(1)))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


@lru_cache(maxsize=8)
def permutation(seed: int, epoch: int, size: int) -> np.ndarray:
    """An epoch's order [size], the same on every machine: an argsort of hashes, not a generator's stream."""
    order = np.argsort(keys(seed, epoch, np.arange(size)), kind="stable")
    order.setflags(write=False)
    return order


WINDOW = 32  # pages that are shuffled together, of 8 MiB each


def windowed(pages: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """A quasi-random order of samples, given their pages [n]: windows of random pages, shuffled inside.

    Reading the samples in this order needs each page during one window only. A function of the file, seed, and epoch.
    """
    present, rank = np.unique(pages, return_inverse=True)
    window = permutation(seed, epoch, len(present)).argsort()[rank] // WINDOW
    return np.lexsort((keys(seed, epoch, np.arange(len(pages))), window))


def worker_rows(rank: int, world: int, batch_size: int) -> tuple[int, int]:
    """First and last row (exclusive) of a worker in every global batch; parts may differ by one row."""
    return rank * batch_size // world, (rank + 1) * batch_size // world


def positions(steps: np.ndarray, rows: np.ndarray, batch_size: int) -> np.ndarray:
    """Stream positions of rows [r] of global steps [s]: [s, r]."""
    return steps.astype(np.int64)[:, None] * batch_size + rows[None, :]


class Stream(NamedTuple):
    """Samples that are read repeatedly, with an order for each pass."""

    subset: np.ndarray  # [n] positions in the file
    order_of: Callable[[int], np.ndarray]  # pass → the subset's order [n]
    share: float = 1.0  # of all that is read
    views: int = 0  # passes after which augmentation is drawn again as in the first one; 0: never

    def view(self, epoch: int) -> int:
        """The pass whose augmentation is repeated in this pass."""
        return epoch % self.views if self.views else epoch


@lru_cache(maxsize=4)
def inverse(order_of: Callable[[int], np.ndarray], epoch: int) -> np.ndarray:
    """The slot [n] of each of a subset's samples in a pass."""
    order = order_of(epoch)
    slots = np.empty(len(order), np.int64)
    slots[order] = np.arange(len(order))
    return slots


def tags(positions: np.ndarray, streams: Sequence[Stream]) -> np.ndarray:
    """Samples at positions of the whole stream, as index | view << 40, the form in which FFCV passes them on.

    The whole stream is one stream, or two interleaved evenly by their shares.
    """
    values = np.empty_like(positions)
    for number, epoch, mask, slots in _by_pass(positions, streams):
        stream = streams[number]
        values[mask] = stream.subset[stream.order_of(epoch)[slots]] | (stream.view(epoch) << PASS_SHIFT)
    return values


def addresses(positions: np.ndarray, streams: Sequence[Stream]) -> np.ndarray:
    """Addresses of the images at positions of the whole stream; equal images have equal addresses.

    Every view has as many addresses as all streams have samples, each stream's in the order of that view.
    """
    values, sizes = np.empty_like(positions), [len(stream.subset) for stream in streams]
    for number, epoch, mask, slots in _by_pass(positions, streams):
        stream = streams[number]
        view = stream.view(epoch)
        if view != epoch:
            slots = inverse(stream.order_of, view)[stream.order_of(epoch)[slots]]
        values[mask] = view * sum(sizes) + sum(sizes[:number]) + slots
    return values


def _by_pass(positions: np.ndarray, streams: Sequence[Stream]) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    """Numbers of a stream and of a pass over it, mask of the positions in this pass, and their slots in its order."""
    for number, (is_own, own) in enumerate(_interleaved(positions, streams)):
        passes, slots = np.divmod(own, len(streams[number].subset))
        for epoch in np.unique(passes[is_own]):
            mask = is_own & (passes == epoch)
            yield number, int(epoch), mask, slots[mask]


def _interleaved(positions: np.ndarray, streams: Sequence[Stream]) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each stream: mask of the positions of the whole stream that read from it, and their positions in it."""
    if len(streams) == 1:
        return [(np.ones_like(positions, bool), positions)]
    # How many samples of the first stream come before each position, and up to it.
    before, after = ((each * streams[0].share).astype(np.int64) for each in (positions, positions + 1))
    return [(after > before, before), (after == before, positions - before)]


def held_out(labels: np.ndarray, share: float) -> np.ndarray:
    """Mask [N] of the validation samples: of every class the same share, the same ones in every run.

    Samples without a label (−1) are never included.
    """
    mask = np.zeros(len(labels), bool)
    for label in np.unique(labels[labels >= 0]):
        members = np.flatnonzero(labels == label)
        chosen = np.argsort(keys(0x56414C, members), kind="stable")[: round(share * len(members))]
        mask[members[chosen]] = True
    return mask
