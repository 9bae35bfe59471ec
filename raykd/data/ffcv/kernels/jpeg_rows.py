"""A JPEG's structure, and JPEGs of some of its rows."""

import numpy as np
from numba import njit

from raykd.data.ffcv.kernels.compiled import STRICT
from raykd.data.ffcv.kernels.types import Frame
from raykd.data.ffcv.libjpeg import find_byte


@njit(**STRICT)
def word(data, at):
    """A big-endian 16-bit number."""
    return (np.int64(data[at]) << 8) | np.int64(data[at + 1])


@njit(**STRICT)
def parse(data):
    """A JPEG's `Frame`; zeros for anything but plain segments with one baseline frame of Y, Cb, Cr in one scan.

    Stricter than libjpeg, so that both find the same frame. Nothing is read beyond data.
    """
    at, frame, interval, down, across = 2, 0, 0, 0, 0
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], word(data, at + 2)
        end = at + 2 + length
        if length < 2 or end > len(data):
            break
        if marker == 0xDA:
            if frame and length == 12 and data[at + 4] == 3:
                return Frame(np.int64(frame), end, np.int64(interval), np.int64(down), np.int64(across))
            break
        if marker == 0xC0:
            if frame or length != 17 or data[at + 9] != 3 or data[at + 14] != 0x11 or data[at + 17] != 0x11:
                break
            if data[at + 10] != 1 or data[at + 13] != 2 or data[at + 16] != 3:
                break
            frame, across, down = at + 5, np.int64(data[at + 11] >> 4), np.int64(data[at + 11] & 15)
        elif marker == 0xDD:
            if length != 4:
                break
            interval = word(data, at + 4)
        elif not (marker == 0xC4 or marker == 0xDB or marker == 0xFE or 0xE0 <= marker <= 0xED or marker == 0xEF):
            break  # another kind of frame, Adobe's segment (other colours), or what has no length
        at = end
    return Frame(0, 0, 0, 0, 0)


@njit(**STRICT)
def restart(data, at, first, count):
    """Position after `count` restart markers from `at` on, numbered from `first` on; −1 if they are missing."""
    base = np.uintp(data.ctypes.data)
    for number in range(first, first + count):
        marker = np.uint8(0)
        while marker == 0 or marker == 0xFF:  # a stuffed byte or filling, not a marker
            if at + 1 >= len(data):
                return -1
            address = find_byte(base + np.uintp(at), np.int32(0xFF), np.uint64(len(data) - 1 - at))
            if address == 0:
                return -1
            at = np.int64(address - base) + 1
            marker = data[at]
        if marker != 0xD0 | (number & 7):
            return -1
        at += 1
    return at


@njit(**STRICT)
def copy_rows(data, frame, first, last, height, buffer):
    """A JPEG of the restart intervals first … last − 1 of data, `height` pixels high; its length, −1 where damaged."""
    begin = restart(data, frame.scan, 0, first)
    if begin < 0:
        return -1
    buffer[: frame.scan] = data[: frame.scan]
    buffer[frame.size], buffer[frame.size + 1] = np.uint8(height >> 8), np.uint8(height & 255)
    length = frame.scan
    for interval in range(last - first):
        end = restart(data, begin, first + interval, 1)
        final = end < 0
        if final:
            end = len(data)
        buffer[length : length + end - begin] = data[begin:end]
        length, begin = length + end - begin, end
        if interval == last - first - 1:
            break
        if final:
            return -1
        buffer[length - 1] = np.uint8(0xD0 | (interval & 7))
    buffer[length - 2], buffer[length - 1] = np.uint8(0xFF), np.uint8(0xD9)
    return length
