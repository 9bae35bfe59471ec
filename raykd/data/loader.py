"""Batches on the device: what the training loop and the evaluation read."""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor

from raykd import UserError
from raykd.contract import Batch
from raykd.data import order
from raykd.data.augment.geometry import misfits
from raykd.data.augment.pipeline import Pipeline, evaluation, training
from raykd.data.config import Data, Mixing
from raykd.data.ffcv.memory import fits_memory
from raykd.data.mixing import mix
from raykd.data.normalize import Finisher
from raykd.data.storage.beton import Header
from raykd.data.storage.prepare import Prepared


class TrainLoader:
    """This worker's part of every global batch of training."""

    def __init__(
        self,
        data: Data,
        prepared: Prepared,
        *,
        batch_size: int,
        seed: int,
        rank: int,
        world: int,
        device: torch.device | str,
        threads: int,
        channels_last: bool = False,
    ):
        """`batch_size` counts the whole global batch; `threads` are for decoding."""
        header = _header(prepared.train, prepared)
        self.subset = np.flatnonzero(~order.held_out(header.labels, data.validation))
        self.size, self.classes = len(self.subset), len(prepared.classes)
        self.batch_size, self.seed, self.mixing = batch_size, seed, data.mixing
        self.labels = torch.from_numpy(header.labels)
        self.order_of = _orders(data, header, self.subset, seed)
        self.mixes = type(data.mixing) is not Mixing
        first, last = order.part(rank, world, batch_size)
        if first == last:
            raise UserError(
                f"a global batch of {batch_size} has no row for worker {rank} of {world}: use fewer workers"
            )
        bounds = [order.part(worker, world, batch_size) for worker in range(world)]
        self.shares = tuple(end - begin for begin, end in bounds) if world > 1 else ()
        # With mixing, a worker also reads the row before its own: that row's image is its first image's partner.
        self.rows = np.arange(first - self.mixes, last) % batch_size
        self.finish, pipeline = Finisher(data, device, channels_last, threads), training(data, seed)
        self.engine = _engine(data, header, self.subset, pipeline, self.finish, rows=len(self.rows), threads=threads)

    def batches(self, start: int, stop: int, stride: int = 1) -> Iterator[Batch]:
        """Batches of global steps start, start + stride, … before `stop`."""
        tags = self.tags(start, stop)[::stride]
        read = zip(tags, self.engine.read(tags.reshape(-1)), strict=True)
        for step, (row, images) in zip(range(start, stop, stride), read, strict=True):
            yield self._batch(step, torch.from_numpy(row & order.INDEX_MASK), images)

    def tags(self, start: int, stop: int) -> np.ndarray:
        """Which samples, in which passes: index | pass << 40 of every row read at global steps start … stop − 1."""
        where = order.positions(start, stop, self.rows, self.batch_size)
        return order.tagged(where, self.subset, self.order_of)

    def _batch(self, step: int, index: Tensor, images: Tensor) -> Batch:
        labels = self.finish.moved(self.labels[index])
        if self.mixes:
            labels = torch.nn.functional.one_hot(labels, self.classes).float()
            images, labels = mix(self.mixing, images, labels, self.seed, step)
            index = index[1:]
        return Batch(images, labels, self.finish.moved(index), self.shares)

    def close(self) -> None:
        """Free threads and the file."""
        self.engine.close()


class TestLoader:
    """This worker's part of the evaluation split: over all workers every sample exactly once."""

    __test__ = False  # pytest: not a test

    def __init__(
        self,
        data: Data,
        prepared: Prepared,
        *,
        batch_size: int,
        rank: int,
        world: int,
        device: torch.device | str,
        threads: int,
        channels_last: bool = False,
    ):
        """`batch_size` counts the images that all workers together hold at once."""
        header = _header(prepared.train if data.validation else prepared.test, prepared)
        everything = np.arange(len(header.labels))
        self.subset = everything[order.held_out(header.labels, data.validation)] if data.validation else everything
        self.size = len(self.subset)
        self.mine = self.subset[rank::world]
        self.rows = -(-batch_size // world)
        self.labels = torch.from_numpy(header.labels)
        self.finish, pipeline = Finisher(data, device, channels_last, threads), evaluation(data)
        self.engine = _engine(data, header, self.subset, pipeline, self.finish, rows=self.rows, threads=threads)

    def batches(self) -> Iterator[Batch]:
        """The worker's samples in order; the last batch may be smaller."""
        for number, images in enumerate(self.engine.read(self.mine)):
            index = torch.from_numpy(self.mine[number * self.rows : (number + 1) * self.rows])
            yield Batch(images, self.finish.moved(self.labels[index]), self.finish.moved(index))

    def close(self) -> None:
        """Free threads and the file."""
        self.engine.close()


def _header(path, prepared: Prepared) -> Header:
    header = Header(path)
    header.check_labels(len(prepared.classes))
    return header


def _orders(data: Data, header: Header, subset: np.ndarray, seed: int) -> Callable[[int], np.ndarray]:
    """The training subset's order in each epoch, the last two kept."""
    pages = header.pages[subset]

    @lru_cache(maxsize=2)
    def order_of(epoch: int) -> np.ndarray:
        return order.windowed(pages, seed, epoch)

    return order_of if data.order == "quasi-random" else partial(_random, seed, len(subset))


def _random(seed: int, size: int, epoch: int) -> np.ndarray:
    return order.permutation(seed, epoch, size)


def _engine(
    data: Data, header: Header, subset: np.ndarray, pipeline: Pipeline, finish: Finisher, *, rows: int, threads: int
):
    for position in subset[misfits(pipeline.geometry, header.shapes[subset])][:1]:
        height, width = header.shapes[position]
        raise UserError(
            f"{header.path}: image {position} is {width}×{height}, which the transforms can't bring to image_size "
            f"{data.image_size}: add a Resize or a crop"
        )
    if data.loader == "torch":
        from raykd.data.torch_engine import TorchEngine

        return TorchEngine(header, pipeline, finish, rows=rows, threads=threads)
    from raykd.data.ffcv.engine import Engine

    paged = data.order == "quasi-random" and not fits_memory(header.bytes)
    return Engine(header, pipeline, finish, rows=rows, threads=threads, paged=paged)
