"""FFCV's Loader with one operation, raykd's kernel, in place of its decoders and augmentations.

Samples travel as index | pass << 40, so that the kernel knows which of an image's augmentations to draw.
"""

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numba
import numpy as np
import torch

from raykd import UserError
from raykd.data import order
from raykd.data.beton import Header
from raykd.data.colour import program
from raykd.data.geometry import boxes
from raykd.data.order import INDEX_MASK, PASS_SHIFT
from raykd.data.pipeline import Pipeline

# While it is imported, FFCV compiles a table of two strings, for seconds, and sets PyTorch to one thread.
_torch_threads, numba.config.DISABLE_JIT = torch.get_num_threads(), True
try:
    from ffcv.fields.rgb_image import SimpleRGBImageDecoder
    from ffcv.loader import Loader
    from ffcv.loader.epoch_iterator import EpochIterator
    from ffcv.pipeline.allocation_query import AllocationQuery
    from ffcv.pipeline.compiler import Compiler
except ImportError as error:
    raise UserError(
        f"FFCV can't be imported ({error}): install it (Debian: apt install libopencv-dev libturbojpeg0-dev pkg-config "
        "g++, then pip install ffcv), or use --data.loader torch"
    ) from None
finally:
    numba.config.DISABLE_JIT = False
    torch.set_num_threads(_torch_threads)


def _set_threads(cls, threads: int) -> None:
    cls.num_threads = threads
    numba.set_num_threads(threads)


# FFCV's own would also set PyTorch's number of threads, from a thread of its own, behind the training loop's back.
Compiler.set_num_threads = classmethod(_set_threads)

from raykd.data import kernels  # noqa: E402 - numba has to be switched on again before it

SEGMENT = 1 << 22  # samples handed to FFCV at once: it wants the whole order of an epoch in memory


class Decode(SimpleRGBImageDecoder):
    """FFCV operation: bytes in the file → augmented uint8 [B, S, S, 3], and a status for each image."""

    def __init__(self, header: Header, pipeline: Pipeline, threads: int):
        super().__init__()
        self.header, self.pipeline, self.threads = header, pipeline, threads

    def declare_state_and_memory(self, previous_state):
        shape, byte = (self.pipeline.geometry.size, self.pipeline.geometry.size, 3), np.dtype("u1")
        state = replace(previous_state, jit_mode=True, shape=shape, dtype=byte)
        return state, (AllocationQuery(shape, byte), AllocationQuery((1,), byte))

    def generate_code(self):
        def decode(tags, buffers, metadata, storage):
            out, status = buffers[0], buffers[1][:, 0]
            self.run(tags, np.asarray(storage[0]), out, status)
            return out, status

        return decode

    def run(self, tags: np.ndarray, memory: np.ndarray, out: np.ndarray, status: np.ndarray) -> None:
        """Fill out and status from the file's bytes."""
        header, pipeline, index = self.header, self.pipeline, tags & INDEX_MASK
        keys = order.keys(pipeline.seed, tags >> PASS_SHIFT, index)
        edges, flips = boxes(pipeline.geometry, keys, header.shapes[index])
        stored = memory, header.offsets[index], header.sizes[index], header.shapes[index]
        geometry = pipeline.geometry
        how = edges, flips, geometry.fill, geometry.resamples, geometry.crops_first, out, status
        if header.jpeg.any():
            kernels.jpeg_batch(self.threads, *stored, header.jpeg[index], *how)
        else:
            kernels.raw_batch(*stored, *how)
        if pipeline.colours:
            from raykd.data.colour_kernels import recolour

            operations = program(pipeline.colours, keys, geometry.size)
            recolour(out, operations, pipeline.side, np.array(pipeline.fill, np.uint8))


@contextmanager
def _no_code_generation():
    """FFCV compiles each pipeline anew in every process; ours only calls a kernel that is compiled and cached."""
    Compiler.set_enabled(False)
    try:
        yield
    finally:
        Compiler.set_enabled(True)


class Engine:
    """Decoded batches of one .beton file, a few ahead of whoever reads them."""

    def __init__(self, header: Header, pipeline: Pipeline, *, rows: int, threads: int):
        self.header = header
        threads = max(1, min(threads, numba.config.NUMBA_NUM_THREADS))
        with _no_code_generation():
            self.loader = Loader(
                str(header.path),
                batch_size=rows,
                num_workers=threads,
                os_cache=True,
                drop_last=False,
                pipelines={"image": [Decode(header, pipeline, threads)], "label": None},
            )

    def read(self, tags: np.ndarray) -> Iterator[np.ndarray]:
        """Images uint8 [B, S, S, 3] of tags [n], B at a time; each array is valid until the next one is asked for."""
        step = max(SEGMENT // self.loader.batch_size, 1) * self.loader.batch_size
        for first in range(0, len(tags), step):
            yield from self._segment(tags[first : first + step])

    def _segment(self, tags: np.ndarray) -> Iterator[np.ndarray]:
        epoch = EpochIterator(self.loader, tags)
        try:
            for first in range(0, len(tags), self.loader.batch_size):
                images, status = _take(epoch)
                self.header.check_status(tags[first : first + len(status)], status)
                yield images
        finally:
            _close(epoch)

    def close(self) -> None:
        """Let go of the file; nothing runs between two reads."""
        self.loader.memory_manager.context.mmap = None


def _take(epoch: EpochIterator) -> tuple[np.ndarray, np.ndarray]:
    """The next batch; FFCV's own __next__ would wait for ever for a thread that has died."""
    while True:
        try:
            slot, (result,) = epoch.output_queue.get(timeout=1.0)
            return result
        except queue.Empty:
            if not epoch.is_alive() and epoch.output_queue.empty():
                raise RuntimeError("FFCV's loading thread died; its traceback stands above") from None


def _close(epoch: EpochIterator) -> None:
    """End the thread for certain: it may be waiting for room in its queue, which FFCV's close() does not make."""
    epoch.close()
    epoch.closed = True
    while epoch.is_alive():
        try:
            epoch.output_queue.get(timeout=0.01)
        except queue.Empty:
            continue
    epoch.join()
