"""The kernels that read a batch of images."""

import numpy as np
from numba import njit, prange

from raykd.data.device.compiled import once_per_machine
from raykd.data.ffcv.kernels.compiled import SOURCES, STRICT
from raykd.data.ffcv.kernels.crop import cut
from raykd.data.ffcv.kernels.jpeg import read_jpeg
from raykd.data.ffcv.kernels.types import CORRUPT, CUT_OFF, NO_MEMORY, OK, Buffers, Crop
from raykd.data.ffcv.libjpeg import destroy, init_decompress, read_at


@njit(**STRICT)
def read_raw(data, shape, crop, out):
    """One image that is stored as pixels; OK or CORRUPT."""
    height, width = shape
    if len(data) != height * width * 3:
        return CORRUPT
    cut(data.reshape(height, width, 3), crop, out)
    return OK


@njit(**STRICT)
def enlarge(buffer, size):
    """The buffer, or a larger one if it is too small; an empty one if memory is short."""
    if len(buffer) >= size:
        return buffer
    try:
        return np.empty(size, np.uint8)
    except Exception:  # noqa: BLE001  numba knows no other; a MemoryError here would end the thread, its image unnamed
        return np.empty(0, np.uint8)


@njit(**STRICT)
def fetch(stored, i, buffer):
    """The bytes of image i, and their status: read from the open file into the buffer, or in place in memory.

    Files are read, not mapped: a mapped one that is truncated meanwhile would end the process (SIGBUS).
    """
    size, offset = stored.sizes[i], stored.offsets[i]
    if stored.file < 0:
        return stored.memory[offset : offset + size], OK
    if len(buffer) < size:
        return buffer, NO_MEMORY
    count = read_at(np.int32(stored.file), np.uintp(buffer.ctypes.data), np.uint64(size), np.int64(offset))
    return buffer[:size], OK if count == size else CUT_OFF


@njit(**STRICT)
def crop_of(crops, i):
    """Image i's crop."""
    return Crop(crops.boxes[i], crops.flips[i], crops.fill, crops.resample, crops.inner)


@njit(**STRICT)
def read_rows(first, last, stored, crops, out, status):
    """Rows first … last − 1 of a batch that has JPEGs, on one thread."""
    decoder, buffer = init_decompress(), np.empty(0, np.uint8)
    pixels, part = np.empty(0, np.uint8), np.empty(0, np.uint8)
    planes, strides = np.empty(3, np.uintp), np.empty(3, np.int32)
    for i in range(first, last):
        height, width, crop = stored.shapes[i, 0], stored.shapes[i, 1], crop_of(crops, i)
        buffer = enlarge(buffer, stored.sizes[i]) if stored.file >= 0 else buffer
        data, status[i] = fetch(stored, i, buffer)
        if status[i] != OK:
            continue
        if not stored.jpeg[i]:
            status[i] = read_raw(data, (height, width), crop, out[i])
            continue
        pixels, part = enlarge(pixels, (height + 1) * (width + 1) * 3), enlarge(part, stored.sizes[i] + 2)
        if len(pixels) == 0 or len(part) == 0:
            status[i] = NO_MEMORY
            continue
        buffers = Buffers(pixels, part, planes, strides)
        status[i] = read_jpeg(decoder, data, (height, width), crop, buffers, out[i])
    destroy(decoder)


@njit(**STRICT)
def read_raw_rows(first, last, stored, crops, out, status):
    """As read_rows, if no image is a JPEG."""
    buffer = np.empty(0, np.uint8)
    for i in range(first, last):
        buffer = enlarge(buffer, stored.sizes[i]) if stored.file >= 0 else buffer
        data, status[i] = fetch(stored, i, buffer)
        if status[i] == OK:
            status[i] = read_raw(data, (stored.shapes[i, 0], stored.shapes[i, 1]), crop_of(crops, i), out[i])


def _entries(sources):
    """The kernels that are called from Python; sources: a hash of all that they call."""

    @njit(parallel=True, cache=True, **STRICT)
    def raw_batch(threads, stored, crops, out, status):
        """As jpeg_batch, if no image is a JPEG: it compiles faster."""
        sources  # noqa: B018  in the key of numba's cache
        rows = len(status)
        for t in prange(threads):
            read_raw_rows(t * rows // threads, (t + 1) * rows // threads, stored, crops, out, status)

    @njit(parallel=True, cache=True, **STRICT)
    def jpeg_batch(threads, stored, crops, out, status):
        """Read a batch (`Stored`, `Crops`) into out [B, S, S, 3] and the status of each image [B], both uint8."""
        sources  # noqa: B018  in the key of numba's cache
        rows = len(status)
        for t in prange(threads):
            read_rows(t * rows // threads, (t + 1) * rows // threads, stored, crops, out, status)

    return once_per_machine(raw_batch), once_per_machine(jpeg_batch)


raw_batch, jpeg_batch = _entries(SOURCES)
