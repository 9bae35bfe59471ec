"""Images stored as JPEG: decodes only what the crop needs."""

import numpy as np
from numba import njit

from raykd.data.ffcv.kernels.compiled import STRICT
from raykd.data.ffcv.kernels.crop import cut, resize_planes
from raykd.data.ffcv.kernels.jpeg_rows import copy_rows, parse, word
from raykd.data.ffcv.kernels.types import CORRUPT, OK, OTHER_SIZE, Crop
from raykd.data.ffcv.libjpeg import decompress, decompress_planes, read_header

LIMIT_SCANS = 32768  # libjpeg-turbo's flag: a progressive JPEG of more than 500 scans is damaged


@njit(**STRICT)
def shrinkage(box, size):
    """By how much the decoder itself can shrink: 1, 2, 4, or 8.

    It shrinks by a sharper filter than ours, so the box keeps at least twice the output's size for ours.
    """
    factor = 8
    while factor > 1 and min(box[2], box[3]) < 2 * factor * size:
        factor //= 2
    return factor


@njit(**STRICT)
def select_rows(data, frame, shape, crop, size, part):
    """A JPEG with the rows that the crop to `size` needs: its address and length, its first row and its height.

    It is the data itself if there are no restart markers at the ends of rows; the length is −1 if the data are damaged.
    """
    height, width = shape
    mcus = -(-width // (8 * frame.across))
    if frame.interval == 0 or frame.interval % mcus != 0:
        return np.uintp(data.ctypes.data), len(data), 0, height
    top, extent = crop.box[0], crop.box[2]
    unit = frame.interval // mcus * 8 * frame.down
    margin = 0.0 if crop.inner else max(extent / size, 2.0) + 2.0 * shrinkage(crop.box, size)
    first = int(max(top - margin, 0.0)) // unit
    last = int(-(-min(top + extent + margin, float(height)) // unit))
    rows = min(last * unit, height) - first * unit
    return np.uintp(part.ctypes.data), copy_rows(data, frame, first, last, rows, part), first * unit, rows


@njit(**STRICT)
def decode_planes(decoder, address, length, frame, height, width, buffers):
    """A JPEG decoded to height × width: whether that failed, and its planes of Y, Cb and Cr."""
    pixels, (rows, columns) = buffers.pixels, (-(-height // frame.down), -(-width // frame.across))
    luma_size, chroma_size = rows * frame.down * columns * frame.across, rows * columns
    planes, strides = buffers.planes, buffers.strides
    planes[0] = np.uintp(pixels.ctypes.data)
    planes[1], planes[2] = planes[0] + np.uintp(luma_size), planes[0] + np.uintp(luma_size + chroma_size)
    strides[0], strides[1], strides[2] = columns * frame.across, columns, columns
    failed = decompress_planes(
        decoder, address, np.uint64(length), np.uintp(planes.ctypes.data), np.int32(width),
        np.uintp(strides.ctypes.data), np.int32(height), np.int32(0),
    )  # fmt: skip
    luma = pixels[:luma_size].reshape(rows * frame.down, columns * frame.across)[:height]
    blue = pixels[luma_size : luma_size + chroma_size].reshape(rows, columns)
    red = pixels[luma_size + chroma_size : luma_size + 2 * chroma_size].reshape(rows, columns)
    return failed, luma, blue, red


@njit(**STRICT)
def resize_jpeg(decoder, data, shape, crop, buffers, out):
    """As resize_pixels, from a JPEG: decodes only the rows that the box needs, shrunk if it is much larger than `out`.

    Returns OK or CORRUPT, or −1 for a JPEG that has to be decoded whole.
    """
    frame, (height, width) = parse(data), shape
    if not 1 <= frame.down <= 2 or not 1 <= frame.across <= 2:
        return -1
    if word(data, frame.size) != height or word(data, frame.size + 2) != width:
        return -1
    factor = shrinkage(crop.box, out.shape[0])
    address, length, top, rows = select_rows(data, frame, shape, crop, out.shape[0], buffers.part)
    if length < 0:
        return CORRUPT
    failed, luma, blue, red = decode_planes(
        decoder, address, length, frame, -(-rows // factor), -(-width // factor), buffers
    )
    if failed:
        return CORRUPT
    box = crop.box.copy()
    box[0] -= top
    box /= factor
    resize_planes(luma, blue, red, frame, Crop(box, crop.flip, crop.fill, crop.resample, crop.inner), out)
    return OK


@njit(**STRICT)
def decode_whole(decoder, data, shape, scratch):
    """A JPEG as RGB [height, width, 3] in scratch, and its status."""
    height, width = shape
    pixels, address, length = np.uintp(scratch.ctypes.data), np.uintp(data.ctypes.data), np.uint64(len(data))
    image, found = scratch[: height * width * 3].reshape(height, width, 3), np.zeros(4, np.int32)
    out = np.uintp(found.ctypes.data)
    if read_header(decoder, address, length, out, out + np.uintp(4), out + np.uintp(8), out + np.uintp(12)):
        return image, CORRUPT
    if found[0] != width or found[1] != height:  # libjpeg would shrink it to fit, or leave the rest as it was
        return image, OTHER_SIZE
    failed = decompress(
        decoder, address, length, pixels, np.int32(width), np.int32(0), np.int32(height), np.int32(0),
        np.int32(LIMIT_SCANS),
    )  # fmt: skip
    return image, CORRUPT if failed else OK


@njit(**STRICT)
def read_jpeg(decoder, data, shape, crop, buffers, out):
    """One image that is stored as JPEG; its status."""
    if crop.resample:
        status = resize_jpeg(decoder, data, shape, crop, buffers, out)
        if status >= 0:
            return status
    image, status = decode_whole(decoder, data, shape, buffers.pixels)
    if status == OK:
        cut(image, crop, out)
    return status
