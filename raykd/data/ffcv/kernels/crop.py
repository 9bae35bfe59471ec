"""Crops of decoded images: copied pixel for pixel, or resized."""

import numpy as np
from numba import njit

from raykd.data.ffcv.kernels.compiled import STRICT
from raykd.data.ffcv.kernels.linear_filter import axis, column_taps, empty_line, squeeze, widen


@njit(**STRICT)
def copy_box(image, box, fill, flip, out):
    """out = the box of image at whole pixels, `fill` outside the image, mirrored where flip."""
    size, height, width = out.shape[0], image.shape[0], image.shape[1]
    top, left = int(box[0]), int(box[1])
    for y in range(size):
        for x in range(size):
            row, column = top + y, left + (size - 1 - x if flip else x)
            inside = 0 <= row < height and 0 <= column < width
            for c in range(3):
                out[y, x, c] = image[row, column, c] if inside else fill


@njit(**STRICT)
def byte(value):
    """A float, rounded and clamped to 0–255; by way of int32, which vector units convert to."""
    value += np.float32(0.5)
    value = value if value > np.float32(0.0) else np.float32(0.0)
    return np.uint8(np.int32(value if value < np.float32(255.0) else np.float32(255.0)))


@njit(**STRICT)
def to_bytes(row, out):
    """Round and clamp a row of values to bytes."""
    for i in range(len(out)):
        out[i] = byte(row[i])


@njit(**STRICT)
def to_rgb(luma, chroma, out):
    """A row of Y [size] and of Cb and Cr in turns [size · 2] to RGB bytes [size · 3]: JFIF's conversion."""
    for x in range(len(out) // 3):
        y, u, v = luma[x], chroma[2 * x] - np.float32(128.0), chroma[2 * x + 1] - np.float32(128.0)
        out[3 * x] = byte(y + np.float32(1.402) * v)
        out[3 * x + 1] = byte(y - np.float32(0.344136) * u - np.float32(0.714136) * v)
        out[3 * x + 2] = byte(y + np.float32(1.772) * u)


@njit(**STRICT)
def resize_pixels(image, crop, out):
    """out = the crop of an RGB image [H, W, 3], resized."""
    size, box, (height, width, _) = out.shape[0], crop.box, image.shape
    rows = axis(box[0], box[2], size, height, 1, crop.inner)
    columns = column_taps(box[1], box[3], size, width, 1, crop.inner, crop.flip, 3)
    begin, extent = columns[0] * 3, columns[1] * 3
    line, row, flat = empty_line(columns, 3), np.empty(3 * size + 4, np.float32), image.reshape(-1)
    for y in range(size):
        squeeze(flat, width * 3, rows, y, begin, line[:extent])
        widen(line, columns, 3, row)
        to_bytes(row, out[y].reshape(-1))


@njit(**STRICT)
def resize_planes(luma, blue, red, frame, crop, out):
    """As resize_pixels, from YCbCr planes [h, w] of a frame's sampling.

    Resizing is linear and so is the change of colours: the result differs from decoding to RGB first only by rounding,
    and by how chroma is brought to full size (here by the same filter, there by libjpeg's own).
    """
    size, box, inner, flip = out.shape[0], crop.box, crop.inner, crop.flip
    rows = axis(box[0], box[2], size, luma.shape[0], 1, inner)
    columns = column_taps(box[1], box[3], size, luma.shape[1], 1, inner, flip, 1)
    rows_c = axis(box[0], box[2], size, blue.shape[0], frame.down, inner)
    columns_c = column_taps(box[1], box[3], size, blue.shape[1], frame.across, inner, flip, 2)
    line, line_c = empty_line(columns, 1), empty_line(columns_c, 2)
    b, r = np.empty(columns_c[1], np.float32), np.empty(columns_c[1], np.float32)
    row, row_c = np.empty(size + 4, np.float32), np.empty(2 * size + 4, np.float32)
    for y in range(size):
        squeeze(luma.reshape(-1), luma.shape[1], rows, y, columns[0], line[: columns[1]])
        squeeze(blue.reshape(-1), blue.shape[1], rows_c, y, columns_c[0], b)
        squeeze(red.reshape(-1), red.shape[1], rows_c, y, columns_c[0], r)
        for x in range(len(b)):
            line_c[2 * x], line_c[2 * x + 1] = b[x], r[x]
        widen(line, columns, 1, row)
        widen(line_c, columns_c, 2, row_c)
        to_rgb(row, row_c, out[y].reshape(-1))


@njit(**STRICT)
def cut(image, crop, out):
    """out = the crop of a decoded image [H, W, 3]."""
    if crop.resample:
        resize_pixels(image, crop, out)
    else:
        copy_box(image, crop.box, crop.fill, crop.flip, out)
