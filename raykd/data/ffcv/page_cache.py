"""Where the file's bytes are while a batch is decoded: FFCV's two memory managers, for tagged samples.

FFCV's own also build tables of Python sets over all samples, gigabytes for ImageNet in every process.
"""

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np

from raykd.data.ffcv.imports import MemoryContext, OSCacheManager, ProcessCacheContext, ProcessCacheManager
from raykd.data.order import INDEX_MASK
from raykd.data.storage.beton import Header

Where = Callable[[np.ndarray], np.ndarray]  # index [B] → offsets [B] in memory


class MappedContext(MemoryContext):
    """The whole file, mapped: the operating system's cache keeps what was read."""

    def __init__(self, header: Header):
        self.header = header

    @property
    def state(self) -> tuple[np.ndarray, Where]:
        return self.memory, lambda index: self.header.offsets[index]

    def __enter__(self):
        self.memory = np.asarray(np.memmap(self.header.path, np.uint8, mode="r"))
        return self

    def __exit__(self, *error) -> None:
        """The map goes when the last array of it does."""

    def join(self) -> None:
        """It has no threads."""


class PagedContext(ProcessCacheContext):
    """The pages that the next batches need, read ahead by threads of its own."""

    @property
    def state(self) -> tuple[np.ndarray, Where]:
        memory = self.memory.reshape(-1)
        memory.setflags(write=False)
        return memory, self._where

    def _where(self, index: np.ndarray) -> np.ndarray:
        header = self.manager.header
        slots = self.page_to_slot[header.pages[index]].astype(np.int64)
        return slots * header.page_size + header.offsets[index] % header.page_size

    def join(self) -> None:
        """Wait for the threads, which __exit__ has told to end."""
        for thread in self.executor.threads:
            thread.join()


class Mapped(OSCacheManager):
    def __init__(self, header: Header):
        self.header = header

    def schedule_epoch(self, batches: Sequence[np.ndarray]) -> MappedContext:
        return MappedContext(self.header)


class Paged(ProcessCacheManager):
    def __init__(self, header: Header):
        self.header, self.sample_to_pages = header, header.pages[:, None]
        self.reader = SimpleNamespace(file_name=str(header.path), page_size=header.page_size)

    def schedule_epoch(self, batches: Sequence[np.ndarray]) -> PagedContext:
        return PagedContext(self, [tags & INDEX_MASK for tags in batches])
