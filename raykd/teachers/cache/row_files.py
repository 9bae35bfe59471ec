"""Rows of bytes by address in sparse files, for any number of readers and writers at once.

A row is written at the offset of its address, with a checksum of its content, its address and the folder's name. So
there is no index, nothing to lock and nothing to repair: a row that is unwritten, half-written, damaged, or of another
address or cache counts as missing.
"""

import os
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from raykd.teachers.cache.formats import PAGE, compress, decompress

HEAD = 8  # bytes before a row's content: checksum, and length | mark << 24, both uint32
MOST = 2**24  # bytes of a row
OPEN = 4  # files


class Layout(NamedTuple):
    """Sizes of rows and files."""

    bytes: int  # of a row
    rows: int  # of a file
    width: int = 0  # bytes of each number in compressed rows; 0: not compressed

    @property
    def stride(self) -> int:
        """Bytes from the start of one row to the next."""
        return -(-(HEAD + self.bytes) // PAGE) * PAGE if self.width else HEAD + self.bytes


class RowFiles:
    """One folder of rows. Reading and writing may run in a thread each."""

    def __init__(self, folder: Path, layout: Layout, notify: Callable[[str], None]):
        """notify: called once for each file with damaged rows."""
        self.folder, self.layout, self._notify = folder, layout, notify
        self._salt = zlib.crc32(folder.name.encode())
        self._reading, self._writing = _Files(folder, "rb"), _Files(folder, "r+b")
        self._named: set[Path] = set()

    def read(self, addresses: np.ndarray) -> tuple[np.ndarray, int] | None:
        """Rows uint8 [B, bytes] and the mark that all of them were written with; None if a row is missing."""
        for last_try in (False, True):  # a row that is being written looks damaged
            records = self._records(addresses)
            heads = records[:, :HEAD].copy().view("<u4")
            if not heads[:, 0].all():
                return None
            damaged = heads[:, 0] != self._checksums(addresses, records)
            if not damaged.any():
                return self._content(records, heads[:, 1])
            if last_try:
                self._name(addresses[damaged])
        return None

    def write(self, addresses: np.ndarray, rows: np.ndarray, mark: int) -> None:
        """Write rows uint8 [B, bytes]; raises OSError if the disk is full."""
        records, lengths = self._packed(rows, mark)
        records[:, :4] = self._checksums(addresses, records).astype("<u4")[:, None].view(np.uint8)
        for file, row, part in self._runs(addresses):
            if self.layout.width:
                for i in range(part.start, part.stop):
                    self._put(file, row + i - part.start, records[i, : HEAD + lengths[i]])
            else:
                self._put(file, row, records[part])

    def _checksums(self, addresses: np.ndarray, records: np.ndarray) -> np.ndarray:
        """CRC-32 of each record without its checksum; never 0, which marks a missing row."""
        content, stride = memoryview(records.reshape(-1)), self.layout.stride
        lengths = np.minimum(records[:, 4:HEAD].copy().view("<u4")[:, 0] & (MOST - 1), self.layout.bytes)
        begins = np.arange(len(records)) * stride + 4
        ends = begins + (HEAD - 4) + lengths
        starts = (addresses.astype(np.uint64) * np.uint64(0x9E3779B1) + np.uint64(self._salt)) & np.uint64(0xFFFFFFFF)
        each = zip(begins.tolist(), ends.tolist(), starts.tolist(), strict=True)
        return np.array([zlib.crc32(content[begin:end], start) or 1 for begin, end, start in each], np.uint32)

    def _packed(self, rows: np.ndarray, mark: int) -> tuple[np.ndarray, np.ndarray]:
        """Records [B, stride] without checksums, and the lengths of their contents."""
        records = np.zeros((len(rows), self.layout.stride), np.uint8)
        lengths = np.full(len(rows), self.layout.bytes, np.uint32)
        if self.layout.width:
            for i, row in enumerate(rows):
                packed = compress(row, self.layout.width)
                lengths[i] = len(packed)
                records[i, HEAD : HEAD + len(packed)] = packed
        else:
            records[:, HEAD:] = rows
        records[:, 4:HEAD] = (lengths | np.uint32(mark << 24)).astype("<u4")[:, None].view(np.uint8)
        return records, lengths

    def _content(self, records: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, int] | None:
        marks, lengths, size = words >> 24, words & (MOST - 1), self.layout.bytes
        if (marks != marks[0]).any():
            return None
        if not self.layout.width:
            return np.ascontiguousarray(records[:, HEAD:]), int(marks[0])
        packed = (record[HEAD : HEAD + n] for record, n in zip(records, lengths, strict=True))
        return np.stack([decompress(each, size, self.layout.width) for each in packed]), int(marks[0])

    def _records(self, addresses: np.ndarray) -> np.ndarray:
        """The records at the addresses [B, stride]; zeros if nothing was written."""
        records = np.zeros((len(addresses), self.layout.stride), np.uint8)
        for number, row, part in self._runs(addresses):
            file = self._reading.open(number)
            if file is not None:
                os.preadv(file.fileno(), [records[part].reshape(-1)], row * self.layout.stride)
        return records

    def _runs(self, addresses: np.ndarray) -> Iterator[tuple[int, int, slice]]:
        """Runs of consecutive addresses: number of the file, first row in it, and the slice of the addresses."""
        begins = np.flatnonzero((np.diff(addresses, prepend=-2) != 1) | (addresses % self.layout.rows == 0))
        for begin, end in zip(begins, [*begins[1:], len(addresses)], strict=True):
            number, row = divmod(int(addresses[begin]), self.layout.rows)
            yield number, row, slice(int(begin), int(end))

    def _put(self, number: int, row: int, content: np.ndarray) -> None:
        descriptor, offset = self._writing.made(number).fileno(), row * self.layout.stride
        left = memoryview(content.reshape(-1))
        while left:
            done = os.pwrite(descriptor, left, offset)
            left, offset = left[done:], offset + done

    def _name(self, addresses: np.ndarray) -> None:
        for number in np.unique(addresses // self.layout.rows):
            path = self._reading.path(int(number))
            if path not in self._named:
                self._named.add(path)
                self._notify(
                    f"teachers.cache: {path} has damaged rows, or rows of another cache; they are computed again"
                )


class _Files:
    """The most recently used files of a folder, kept open."""

    def __init__(self, folder: Path, mode: str):
        self.folder, self.mode = folder, mode
        self._open: OrderedDict[int, FileIO] = OrderedDict()

    def path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.rows"

    def open(self, number: int) -> FileIO | None:
        """An open file; None if it does not exist."""
        if number not in self._open:
            try:
                self._open[number] = FileIO(self.path(number), self.mode)
            except FileNotFoundError:
                return None
            if len(self._open) > OPEN:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(number)
        return self._open[number]

    def made(self, number: int) -> FileIO:
        """A file to write to; it may exist already, or be created by another process at the same time."""
        file = self.open(number)
        if file is None:
            os.close(os.open(self.path(number), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666))
            file = self.open(number)
        if file is None:
            raise FileNotFoundError(2, "was removed while it was written", str(self.path(number)))
        return file
