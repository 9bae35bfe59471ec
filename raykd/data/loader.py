"""Loaders of batches on the device, for training and evaluation."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from raykd import UserError
from raykd.contract import Batch, Placement
from raykd.data import order
from raykd.data.augment.geometry import unusable
from raykd.data.augment.pipeline import Pipeline, evaluation, training
from raykd.data.config import Data, Mixing, Prepared
from raykd.data.device.normalize import Normalizer
from raykd.data.ffcv.memory import fits_memory
from raykd.data.mixing import mix
from raykd.data.storage.header import Header, open_header
from raykd.data.storage.prepare import normalised
from raykd.data.subsets import evaluation_subset, training_streams, training_subset

if TYPE_CHECKING:
    from raykd.data.ffcv.engine import Engine
    from raykd.data.torch_engine import TorchEngine


class TrainLoader:
    """This worker's part of every global batch of training."""

    def __init__(
        self,
        data: Data,
        prepared: Prepared,
        placement: Placement,
        *,
        batch_size: int,
        seed: int,
        channels_last: bool = False,
    ):
        """batch_size: images of the global batch. Raises UserError if this worker's part of it is empty."""
        data = normalised(data, prepared)
        header = open_header(prepared.train, prepared)
        self.subset = training_subset(header.labels, data.validation, prepared.classes)
        self.size, self.classes = len(self.subset), len(prepared.classes)
        self.batch_size, self.seed, self.mixing = batch_size, seed, data.mixing
        self.labels = torch.from_numpy(header.labels)
        self.labelled_share = data.labelled_share
        self.identity = prepared.identity
        self.streams = training_streams(data, header, self.subset, seed)
        self.mixes = type(data.mixing) is not Mixing
        self.period = _period(self.streams, batch_size)
        bounds = [order.worker_rows(worker, placement.world, batch_size) for worker in range(placement.world)]
        self.shares = tuple(end - begin for begin, end in bounds) if placement.world > 1 else ()
        first, last = bounds[placement.rank]
        if first == last:
            raise UserError(
                f"batch_size {batch_size} is too small for {placement.world} workers (worker {placement.rank} gets no "
                "image): use fewer workers"
            )
        # With mixing, a worker also reads the row before its own: that row's image is its first image's partner.
        self.rows = np.arange(first - self.mixes, last) % batch_size
        self.normalizer = Normalizer(data, placement, channels_last)
        self.engine = _engine(data, header, self.subset, training(data, seed), self.normalizer, rows=len(self.rows))

    def batches(self, start: int, stop: int, stride: int = 1) -> Iterator[Batch]:
        """Batches of global steps start, start + stride, … before `stop`."""
        tags = self.tags(start, stop)[::stride]
        read = zip(tags, self.engine.read(tags.reshape(-1)), strict=True)
        for step, (row, images) in zip(self._stream_steps(start, stop)[::stride], read, strict=True):
            yield self._batch(int(step), torch.from_numpy(row & order.INDEX_MASK), images)

    def tags(self, start: int, stop: int) -> np.ndarray:
        """Sample and view, index | view << 40, of each row of global steps start … stop − 1: [steps, rows]."""
        positions = order.positions(self._stream_steps(start, stop), self.rows, self.batch_size)
        return order.tags(positions, self.streams)

    def addresses(self, start: int, stop: int) -> np.ndarray:
        """An address for each of this worker's images, [stop − start, rows]; equal images have equal addresses.

        It is the position in the stream at which the image, mixed if the recipe mixes, occurs first; so it does not
        depend on the number of workers nor, without mixing, on the batch size.
        """
        positions = order.positions(self._stream_steps(start, stop), self.rows[self.mixes :], self.batch_size)
        return positions if self.mixes else order.addresses(positions, self.streams)

    def distinct_images(self, steps: int) -> int:
        """The maximum number of distinct images in the first global steps."""
        if self.mixes:
            return min(steps, self.period or steps) * self.batch_size
        seen = [steps * self.batch_size * stream.share for stream in self.streams]
        limits = [len(stream.subset) * stream.views for stream in self.streams]
        return sum(math.ceil(min(count, limit or count)) for count, limit in zip(seen, limits, strict=True))

    def _stream_steps(self, start: int, stop: int) -> np.ndarray:
        """Steps of the stream for global steps start … stop − 1: with `views`, mixed batches repeat as a whole."""
        steps = np.arange(start, stop, dtype=np.int64)
        return steps % self.period if self.mixes and self.period else steps

    @property
    def unlabelled(self) -> int:
        """The number of training images without a label."""
        return int((self.labels[self.subset] < 0).sum())

    def _batch(self, step: int, index: Tensor, images: Tensor) -> Batch:
        labels = self.normalizer.to_device(self.labels[index])
        if self.mixes:
            known = (labels >= 0).float()[:, None]  # a missing label has weight 0
            labels = torch.nn.functional.one_hot(labels.clamp_min(0), self.classes).float() * known
            images, labels = mix(self.mixing, images, labels, self.seed, step)
            index = index[1:]
        return Batch(images, labels, self.normalizer.to_device(index), self.shares)


class TestLoader:
    """This worker's part of the evaluation split; over all workers, every sample is read exactly once."""

    __test__ = False  # pytest: not a test

    def __init__(
        self,
        data: Data,
        prepared: Prepared,
        placement: Placement,
        *,
        batch_size: int,
        channels_last: bool = False,
    ):
        """batch_size: images that all workers together read at once.

        Raises UserError if there is no test split, or if it has fewer images than there are workers: a worker without
        images could not take part in the sums over all workers.
        """
        data = normalised(data, prepared)
        path = prepared.train if data.validation else prepared.test
        if path is None:
            raise UserError(
                "the data set has no test split: hold out a share of the training images with data.validation"
            )
        header = open_header(path, prepared)
        self.subset = evaluation_subset(header.labels, data.validation)
        self.size = len(self.subset)
        if self.size < placement.world:
            raise UserError(
                f"the evaluation split has {self.size} image(s), too few for {placement.world} workers: use fewer "
                "workers"
            )
        self.indices = self.subset[placement.rank :: placement.world]
        self.rows = -(-batch_size // placement.world)
        self.labels = torch.from_numpy(header.labels)
        self.normalizer = Normalizer(data, placement, channels_last)
        self.engine = _engine(data, header, self.subset, evaluation(data), self.normalizer, rows=self.rows)

    def batches(self) -> Iterator[Batch]:
        """The worker's samples in order; the last batch may be smaller."""
        for number, images in enumerate(self.engine.read(self.indices)):
            index = torch.from_numpy(self.indices[number * self.rows : (number + 1) * self.rows])
            yield Batch(images, self.normalizer.to_device(self.labels[index]), self.normalizer.to_device(index))


def _period(streams: Sequence[order.Stream], batch_size: int) -> int:
    """The number of batches in which every image occurs in each of its views; 0: views never repeat."""
    return math.ceil(max(stream.views * len(stream.subset) / stream.share for stream in streams) / batch_size)


def _engine(
    data: Data, header: Header, subset: np.ndarray, pipeline: Pipeline, normalizer: Normalizer, *, rows: int
) -> "Engine | TorchEngine":
    for position in subset[unusable(pipeline.geometry, header.shapes[subset])][:1]:
        height, width = header.shapes[position]
        raise UserError(
            f"{header.path}: image {position} is {width}×{height}, which the transforms don't resize to image_size "
            f"{data.image_size}: add a Resize or a crop"
        )
    if data.loader == "torch":
        from raykd.data.torch_engine import TorchEngine

        return TorchEngine(header, pipeline, normalizer, rows=rows)
    from raykd.data.ffcv.engine import Engine

    paged = data.order == "quasi-random" and not fits_memory(header.bytes)
    return Engine(header, pipeline, normalizer, rows=rows, paged=paged)
