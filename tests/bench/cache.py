"""Group cache: a cache of ImageNet's size, filled with random logits, read again sequentially and at random positions.

It reports wall-clock and CPU seconds; on a busy machine only the latter are meaningful.
"""

import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from raykd.teachers.cache.folders import allocated
from raykd.teachers.cache.formats import Format, Full, TopK
from raykd.teachers.cache.row_files import Layout, RowFiles
from raykd.teachers.cache.teacher_cache import TensorCache
from raykd.teachers.cache.write_behind import WriteBehind

IMAGES, CLASSES, BATCH = 1_281_167, 1000, 1024
FORMATS: dict[str, Format] = {"top-k 16": TopK(CLASSES, 16), "float16": Full((CLASSES,), "float16")}


def rows(images: int = IMAGES, formats: dict[str, Format] = FORMATS) -> Iterator[dict]:
    for name, form in formats.items():
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / name.replace(" ", "-")
            place.mkdir()
            cache = TensorCache(name, form, RowFiles(place, Layout(form.bytes, images), print))
            for what, work in (("write", write), ("read", read), ("read scattered", scattered)):
                before = memory()
                wall, cpu = time.perf_counter(), time.process_time()
                seen = work(cache, images)
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                row = {"cache": name, "what": what, "images": seen, "GB": allocated(place) / 1e9, "seconds": wall}
                row |= {"CPU seconds": cpu, "MB/s": seen * (form.bytes + 8) / wall / 1e6}
                yield row | {"images/CPU s": seen / cpu, "memory grew by MB": (memory() - before) / 1e6}


def write(cache: TensorCache, images: int) -> int:
    """Write as a run does: packed in the step, checked and written by the background thread."""
    draw = torch.Generator().manual_seed(0)
    logits = [torch.randn(BATCH, CLASSES, generator=draw) * 4 for _ in range(4)]
    writer = WriteBehind(print)
    for number, first in enumerate(range(0, images, BATCH)):
        at = np.arange(first, min(first + BATCH, images))
        writer.put(cache, at, cache.format.pack(logits[number % 4][: len(at)]), 0)
    writer.close()
    return images


def read(cache: TensorCache, images: int) -> int:
    for first in range(0, images, BATCH):
        assert cache.read(np.arange(first, min(first + BATCH, images)), torch.device("cpu")) is not None
    return images


def scattered(cache: TensorCache, images: int) -> int:
    """Read single rows at random positions, as for the second view of unmixed images; a tenth of all rows."""
    order = np.random.default_rng(0).permutation(images)[: images // 10]
    for first in range(0, len(order), BATCH):
        assert cache.read(order[first : first + BATCH], torch.device("cpu")) is not None
    return len(order)


def memory() -> int:
    """This process's peak memory so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
