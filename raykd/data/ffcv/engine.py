"""FFCV's pipeline with one operation, raykd's kernel, in place of its decoders and augmentations.

Samples travel as index | pass << 40, so that the kernel knows which of an image's augmentations to draw.
"""

import queue
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from torch import Tensor

from raykd import UserError
from raykd.data import order
from raykd.data.augment.geometry import boxes
from raykd.data.augment.pipeline import Pipeline
from raykd.data.device.normalize import Normalizer
from raykd.data.ffcv.imports import (
    AllocationQuery,
    Compiler,
    EpochIterator,
    Graph,
    PipelineSpec,
    RGBImageField,
    SimpleRGBImageDecoder,
)
from raykd.data.ffcv.kernels.batch import jpeg_batch, raw_batch
from raykd.data.ffcv.kernels.types import CUT_OFF, NO_MEMORY, Crops, Stored
from raykd.data.ffcv.page_cache import Paged, Unpaged
from raykd.data.order import INDEX_MASK, PASS_SHIFT
from raykd.data.storage.header import Header

SEGMENT = 1 << 22  # samples passed to FFCV at once: it keeps the whole order of an epoch in memory


class Decode(SimpleRGBImageDecoder):
    """FFCV operation: bytes in the file → augmented uint8 [B, S, S, 3], `after` of it, and a status for each image."""

    def __init__(self, header: Header, pipeline: Pipeline, threads: int, after: Callable[[np.ndarray], Any]):
        super().__init__()
        self.header, self.pipeline, self.threads, self.after = header, pipeline, threads, after

    def declare_state_and_memory(self, previous_state: Any) -> tuple[Any, tuple[AllocationQuery, ...]]:
        shape, byte = (self.pipeline.geometry.size, self.pipeline.geometry.size, 3), np.dtype("u1")
        state = replace(previous_state, jit_mode=True, shape=shape, dtype=byte)
        return state, (AllocationQuery(shape, byte), AllocationQuery((1,), byte))

    def generate_code(self) -> Callable[..., Any]:
        def decode(tags: np.ndarray, buffers: Any, metadata: Any, storage: Any) -> tuple[Any, np.ndarray]:
            out, status = buffers[0], buffers[1][:, 0]
            file, memory, where = storage
            try:
                self.run(tags, file, memory, where(tags & INDEX_MASK), out, status)
                return self.after(out), status
            except UserError as error:  # of the user's own operation; raised in the reader's thread
                return error, status
            except MemoryError:  # it would end FFCV's thread without an error in the reader's
                status[:] = NO_MEMORY
                return out, status

        return decode

    def run(
        self, tags: np.ndarray, file: int, memory: np.ndarray, offsets: np.ndarray, out: np.ndarray, status: np.ndarray
    ) -> None:
        """Fill out [B, S, S, 3] and status [B] from images at offsets [B] of the file, or of memory if file is −1."""
        header, pipeline, index = self.header, self.pipeline, tags & INDEX_MASK
        keys = order.keys(pipeline.seed, tags >> PASS_SHIFT, index)
        edges, flips = boxes(pipeline.geometry, keys, header.shapes[index])
        stored = Stored(file, memory, offsets, header.sizes[index], header.shapes[index], header.jpeg[index])
        geometry = pipeline.geometry
        crops = Crops(edges, flips, geometry.fill, geometry.resamples, geometry.crops_first)
        read = jpeg_batch if header.jpeg.any() else raw_batch
        read(self.threads, stored, crops, out, status)
        if pipeline.colour_steps:
            from raykd.data.ffcv.kernels.colour import recolour

            fill = np.array(pipeline.fill, np.uint8)
            pipeline.recolour(out, keys, lambda images, steps: recolour(images, steps, pipeline.side, fill))
        # FFCV's page reader does not check how many bytes it read.
        if file < 0 and header.path.stat().st_size < header.bytes:
            status[:] = CUT_OFF


class Engine:
    """Decoded batches of one .beton file, read a few batches ahead; no thread runs and no file is open between reads.

    It has the attributes of a Loader that FFCV's EpochIterator reads. FFCV's own Loader would also compile its pipeline
    anew in every process (ours only calls a kernel that is compiled and cached) and build tables of Python sets over
    all samples.
    """

    batches_ahead = 3
    traversal_order = None

    def __init__(
        self,
        header: Header,
        pipeline: Pipeline,
        normalizer: Normalizer,
        *,
        rows: int,
        paged: bool = False,
    ):
        """rows: B, images of a batch. paged: read whole pages ahead into this process, for files larger than memory.

        `normalizer.send` is called in FFCV's loading thread, a few batches ahead; `normalizer.receive` in the caller's.
        """
        self.header, self.batch_size = header, rows
        self.num_workers = normalizer.threads
        self.reader = SimpleNamespace(metadata={"f0": None})  # what FFCV passes to every decoder; ours has the header
        self.memory_manager = Paged(header) if paged else Unpaged(header)
        self.normalizer = normalizer
        spec = PipelineSpec("image", transforms=[Decode(header, pipeline, self.num_workers, normalizer.send)])
        self.graph = Graph({"image": spec}, {"image": RGBImageField()}, {"image": 0}, self.reader.metadata, None)
        self.code = self._assemble()

    def _assemble(self) -> Any:
        _, code = self.graph.collect_requirements()
        Compiler.set_enabled(False)
        try:
            return self.graph.codegen_all(code)
        finally:
            Compiler.set_enabled(True)

    def read(self, tags: np.ndarray) -> Iterator[Tensor]:
        """Normalised images [B, 3, S, S] of tags [n]; the last batch may be smaller."""
        step = max(SEGMENT // self.batch_size, 1) * self.batch_size
        for first in range(0, len(tags), step):
            yield from self._segment(tags[first : first + step])

    def _segment(self, tags: np.ndarray) -> Iterator[Tensor]:
        epoch = EpochIterator(self, tags)
        try:
            for first in range(0, len(tags), self.batch_size):
                sent, status = _take(epoch)
                if isinstance(sent, UserError):
                    raise sent
                self.header.check_status(tags[first : first + len(status)], status)
                yield self.normalizer.receive(sent)
        finally:
            _close(epoch)


def _take(epoch: EpochIterator) -> tuple[Any, np.ndarray]:
    """The next batch; FFCV's own __next__ would wait forever for a thread that has died."""
    while True:
        try:
            slot, (result,) = epoch.output_queue.get(timeout=1.0)
            return result
        except queue.Empty:
            if not epoch.is_alive() and epoch.output_queue.empty():
                raise RuntimeError("FFCV's loading thread died; its traceback is above") from None


def _close(epoch: EpochIterator) -> None:
    """End the thread; it may be waiting for a free place in its queue, which FFCV's close() does not empty."""
    epoch.close()
    epoch.closed = True
    while epoch.is_alive():
        try:
            epoch.output_queue.get(timeout=0.01)
        except queue.Empty:
            continue
    epoch.join()
    epoch.memory_context.join()
