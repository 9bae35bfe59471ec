"""FFCV's memory managers for tagged samples: a batch's bytes are in the open file, or in pages that were read ahead.

FFCV's own managers also build tables of Python sets over all samples, gigabytes for ImageNet in every process.
"""

import os
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Self

import numpy as np

from raykd.data.ffcv.imports import MemoryContext, OSCacheManager, ProcessCacheContext, ProcessCacheManager
from raykd.data.order import INDEX_MASK
from raykd.data.storage.header import Header

Where = Callable[[np.ndarray], np.ndarray]  # index [B] → offsets [B] in the file or in memory
Storage = tuple[int, np.ndarray, Where]  # an open file, or −1 and memory


class FileContext(MemoryContext):
    """The open file, cached by the operating system."""

    def __init__(self, header: Header):
        self.header = header

    @property
    def state(self) -> Storage:
        return self.file, np.empty(0, np.uint8), lambda index: self.header.offsets[index]

    def __enter__(self) -> Self:
        self.file = os.open(self.header.path, os.O_RDONLY | os.O_CLOEXEC)
        return self

    def __exit__(self, *error: object) -> None:
        """FFCV calls this while its thread may still read."""

    def join(self) -> None:
        """FFCV's thread has ended."""
        os.close(self.file)


class PagedContext(ProcessCacheContext):
    """The pages that the next batches need, read ahead by threads of its own."""

    @property
    def state(self) -> Storage:
        return -1, self.memory.reshape(-1), self._where

    def _where(self, index: np.ndarray) -> np.ndarray:
        header = self.manager.header
        slots = self.page_to_slot[header.pages[index]].astype(np.int64)
        return slots * header.page_size + header.offsets[index] % header.page_size

    def join(self) -> None:
        """Wait for the threads, which __exit__ has stopped."""
        for thread in self.executor.threads:
            thread.join()


class Unpaged(OSCacheManager):
    """FFCV's manager for files that are read through the operating system's cache."""

    def __init__(self, header: Header):
        self.header = header

    def schedule_epoch(self, batches: Sequence[np.ndarray]) -> FileContext:
        return FileContext(self.header)


class Paged(ProcessCacheManager):
    """FFCV's manager for files that are read page by page, ahead of use."""

    def __init__(self, header: Header):
        self.header, self.sample_to_pages = header, header.pages[:, None]
        self.reader = SimpleNamespace(file_name=str(header.path), page_size=header.page_size)

    def schedule_epoch(self, batches: Sequence[np.ndarray]) -> PagedContext:
        return PagedContext(self, [tags & INDEX_MASK for tags in batches])
