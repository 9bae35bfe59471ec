"""The compiled kernel that reads a batch: decode only what the crop needs, resize, flip.

numba's cache watches this file alone, so everything that the kernel calls stands here; it is compiled once per
machine, not once per process. Arithmetic is strict (no fastmath), so that other machines get the same pixels.
"""

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, prange
from numba.core import cgutils
from numba.core.types import uintp, void
from numba.extending import intrinsic

from raykd.data.ffcv.libjpeg import (
    decompress,
    decompress_planes,
    destroy,
    find_byte,
    init_decompress,
    read_at,
    read_header,
)

OK, CORRUPT, OTHER_SIZE, CUT_OFF, NO_MEMORY = range(5)  # the status of an image
LIMIT_SCANS = 32768  # libjpeg-turbo's flag: a progressive JPEG of more than 500 scans is damaged
_STRICT = {"cache": True, "nogil": True, "error_model": "numpy"}


class Stored(NamedTuple):
    """A batch's images as they are stored: image i is `sizes[i]` bytes at `offsets[i]`."""

    file: int  # an open file's descriptor, or −1: they are in memory
    memory: np.ndarray  # uint8
    offsets: np.ndarray  # [B] int64
    sizes: np.ndarray  # [B] int64, bytes
    shapes: np.ndarray  # [B, 2] int64, height and width
    jpeg: np.ndarray  # [B] bool; False: pixels


class Crops(NamedTuple):
    """The box of each image that becomes the output, and how; see `Crop`."""

    boxes: np.ndarray  # [B, 4] float64: top, left, height, width in source pixels
    flips: np.ndarray  # [B] bool
    fill: int
    resample: bool
    inner: bool


class Crop(NamedTuple):
    """One image's box [4] and flip."""

    box: np.ndarray
    flip: bool
    fill: int  # level around the image, where it is not resampled
    resample: bool  # resize the box by the antialiased linear filter; else copy it, one pixel for one
    inner: bool  # pixels outside the box don't count, as if they had been cut away first


class Frame(NamedTuple):
    """Positions in a JPEG, and its sampling; all zero for what the partial decoder doesn't take."""

    size: int  # where height and width are
    scan: int  # where the entropy-coded data start
    interval: int  # MCUs between restart markers, or 0
    down: int  # luma samples for a chroma sample, vertically and horizontally
    across: int


class Buffers(NamedTuple):
    """Scratch memory of one thread. Its caller holds it: C code gets only the addresses."""

    pixels: np.ndarray  # uint8, for decoded images
    part: np.ndarray  # uint8, for a JPEG of some of the rows
    planes: np.ndarray  # [3] addresses
    strides: np.ndarray  # [3] bytes


@njit(**_STRICT)
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


@njit(**_STRICT)
def taps(start, length, size, low, high, first, count, weights):
    """Weights of the antialiased linear filter that resizes [start, start + length) to `size` (PIL's "bilinear").

    Output i reads weights[i, :count[i]] of the source from first[i]; only the pixels low … high − 1 count.
    """
    scale = length / size
    support = max(scale, 1.0)
    for i in range(size):
        center = start + (i + 0.5) * scale
        begin, end = max(int(center - support + 0.5), low), min(int(center + support + 0.5), high)
        first[i], count[i], total = begin, end - begin, 0.0
        for k in range(end - begin):
            weights[i, k] = max(1.0 - abs((begin + k + 0.5 - center) / support), 0.0)
            total += weights[i, k]
        for k in range(end - begin):
            weights[i, k] /= total


@njit(**_STRICT)
def axis(start, length, size, limit, shrink, inner):
    """`taps` of one axis of a plane that holds one sample for `shrink` pixels, `limit` samples in all."""
    low, high = 0, limit
    if inner:  # what lies outside the box was cut away
        low, high = int(np.floor(start / shrink)), min(int(np.ceil((start + length) / shrink)), limit)
    width = int(2 * max(length / shrink / size, 1.0)) + 3
    first, count, weights = np.empty(size, np.int64), np.empty(size, np.int64), np.zeros((size, width), np.float32)
    taps(start / shrink, length / shrink, size, low, high, first, count, weights)
    return first, count, weights


@njit(**_STRICT)
def squeeze(flat, stride, rows, y, begin, line):
    """line = the weighted sum of the source rows that make output row y, from flat[begin …] of each row on."""
    first, count, weights = rows
    line[:] = np.float32(0.0)
    for k in range(count[y]):
        weight, start = weights[y, k], (first[y] + k) * stride + begin
        source = flat[start : start + len(line)]
        for j in range(len(line)):
            line[j] += weight * np.float32(source[j])


@njit(**_STRICT)
def column_taps(start, length, size, limit, shrink, inner, flip, channels):
    """How `widen` resizes a line to `size`, mirrored where flip.

    First sample of a line and their number; and of each output pixel the offset in bytes of its first sample in the
    line, [size], and its weights, [size, most].
    """
    first, count, weights = axis(start, length, size, limit, shrink, inner)
    begin, extent, most = first[0], first[-1] + count[-1] - first[0], count.max()
    offsets, packed = np.empty(size, np.uintp), np.zeros((size, most), np.float32)
    for x in range(size):
        source = size - 1 - x if flip else x
        offsets[x] = np.uintp((first[source] - begin) * channels * 4)
        packed[x, : count[source]] = weights[source, : count[source]]
    return begin, extent, offsets, packed


@njit(**_STRICT)
def empty_line(columns, channels):
    """A line of floats for `widen`, and zeros after it, which pixels with fewer weights than others read too."""
    return np.zeros((columns[1] + columns[3].shape[1] + 4) * channels, np.float32)


@intrinsic
def weigh(typing, target, source, weights, count, step):
    """Four floats at address `target` = Σ_k weights[k] · four floats at source + k · step, all in one register.

    Stated as vector code because numba leaves arithmetic on neighbouring values scalar.
    """

    def generate(context, builder, signature, arguments):
        target, source, weights, count, step = arguments
        number, lanes = ir.FloatType(), ir.VectorType(ir.FloatType(), 4)
        undefined, all_first = ir.Constant(lanes, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), 4), [0] * 4)
        total = cgutils.alloca_once_value(builder, ir.Constant(lanes, [0.0] * 4))
        with cgutils.for_range(builder, count, intp=count.type) as loop:
            at = builder.add(weights, builder.mul(loop.index, ir.Constant(count.type, 4)))
            weight = builder.load(builder.inttoptr(at, number.as_pointer()))
            first = builder.insert_element(undefined, weight, ir.Constant(ir.IntType(32), 0))
            at = builder.add(source, builder.mul(loop.index, step))
            values = builder.load(builder.inttoptr(at, lanes.as_pointer()), align=4)
            weighted = builder.fmul(builder.shuffle_vector(first, undefined, all_first), values)
            builder.store(builder.fadd(builder.load(total), weighted), total)
        builder.store(builder.load(total), builder.inttoptr(target, lanes.as_pointer()), align=4)
        return context.get_dummy_value()

    return void(uintp, uintp, uintp, uintp, uintp), generate


@njit(**_STRICT)
def widen(line, columns, channels, row):
    """row = line, both of `channels` interleaved, resized along x; row has room for four values more.

    Each pixel writes four values, of which the next one overwrites what is not its own. Common counts of weights are
    constants here, so that the compiler unrolls their sums.
    """
    _, _, offsets, weights = columns
    count, step = np.uintp(weights.shape[1]), np.uintp(4 * channels)
    source, target, weight = np.uintp(line.ctypes.data), np.uintp(row.ctypes.data), np.uintp(weights.ctypes.data)
    for x in range(len(offsets)):
        to, at, by = target + np.uintp(x) * step, source + offsets[x], weight + np.uintp(4 * x) * count
        if count == 2:
            weigh(to, at, by, np.uintp(2), step)
        elif count == 3:
            weigh(to, at, by, np.uintp(3), step)
        elif count == 4:
            weigh(to, at, by, np.uintp(4), step)
        else:
            weigh(to, at, by, count, step)


@njit(**_STRICT)
def byte(value):
    """A float, rounded and clamped to 0–255; by way of int32, which vector units convert to."""
    value += np.float32(0.5)
    value = value if value > np.float32(0.0) else np.float32(0.0)
    return np.uint8(np.int32(value if value < np.float32(255.0) else np.float32(255.0)))


@njit(**_STRICT)
def to_bytes(row, out):
    """Round and clamp a row of values to bytes."""
    for i in range(len(out)):
        out[i] = byte(row[i])


@njit(**_STRICT)
def to_rgb(luma, chroma, out):
    """A row of Y [size] and of Cb and Cr in turns [size · 2] to RGB bytes [size · 3]: JFIF's conversion."""
    for x in range(len(out) // 3):
        y, u, v = luma[x], chroma[2 * x] - np.float32(128.0), chroma[2 * x + 1] - np.float32(128.0)
        out[3 * x] = byte(y + np.float32(1.402) * v)
        out[3 * x + 1] = byte(y - np.float32(0.344136) * u - np.float32(0.714136) * v)
        out[3 * x + 2] = byte(y + np.float32(1.772) * u)


@njit(**_STRICT)
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


@njit(**_STRICT)
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


@njit(**_STRICT)
def word(data, at):
    """A big-endian 16-bit number."""
    return (np.int64(data[at]) << 8) | np.int64(data[at + 1])


@njit(**_STRICT)
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


@njit(**_STRICT)
def restart(data, at, first, count):
    """Position after `count` restart markers from `at` on, numbered from `first` on; −1 where they aren't there."""
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


@njit(**_STRICT)
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


@njit(**_STRICT)
def shrinkage(box, size):
    """By how much the decoder itself can shrink: 1, 2, 4, or 8.

    It shrinks by a sharper filter than ours, so the box keeps at least twice the output's size for ours.
    """
    factor = 8
    while factor > 1 and min(box[2], box[3]) < 2 * factor * size:
        factor //= 2
    return factor


@njit(**_STRICT)
def select_rows(data, frame, shape, crop, size, part):
    """A JPEG with the rows that the crop to `size` needs: its address and length, its first row and its height.

    It is data itself where that has no restart marker at the end of rows; the length is −1 where data are damaged.
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


@njit(**_STRICT)
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


@njit(**_STRICT)
def resize_jpeg(decoder, data, shape, crop, buffers, out):
    """As resize_pixels, from a JPEG: decodes only the rows that the box needs, shrunk where it is much larger than out.

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


@njit(**_STRICT)
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


@njit(**_STRICT)
def cut(image, crop, out):
    """out = the crop of a decoded image [H, W, 3]."""
    if crop.resample:
        resize_pixels(image, crop, out)
    else:
        copy_box(image, crop.box, crop.fill, crop.flip, out)


@njit(**_STRICT)
def read_raw(data, shape, crop, out):
    """One image that is stored as pixels; OK or CORRUPT."""
    height, width = shape
    if len(data) != height * width * 3:
        return CORRUPT
    cut(data.reshape(height, width, 3), crop, out)
    return OK


@njit(**_STRICT)
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


@njit(**_STRICT)
def enlarge(buffer, size):
    """The buffer, or a larger one where it is too small; an empty one where memory is short."""
    if len(buffer) >= size:
        return buffer
    try:
        return np.empty(size, np.uint8)
    except Exception:  # noqa: BLE001  numba knows no other; a MemoryError here would end the thread, its image unnamed
        return np.empty(0, np.uint8)


@njit(**_STRICT)
def fetch(stored, i, buffer):
    """The bytes of image i, and their status: from the open file by way of the buffer, else as they lie in memory.

    Files are read, not mapped: a mapped one that is truncated meanwhile would end the process (SIGBUS).
    """
    size, offset = stored.sizes[i], stored.offsets[i]
    if stored.file < 0:
        return stored.memory[offset : offset + size], OK
    if len(buffer) < size:
        return buffer, NO_MEMORY
    count = read_at(np.int32(stored.file), np.uintp(buffer.ctypes.data), np.uint64(size), np.int64(offset))
    return buffer[:size], OK if count == size else CUT_OFF


@njit(**_STRICT)
def crop_of(crops, i):
    """Image i's crop."""
    return Crop(crops.boxes[i], crops.flips[i], crops.fill, crops.resample, crops.inner)


@njit(**_STRICT)
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


@njit(**_STRICT)
def read_raw_rows(first, last, stored, crops, out, status):
    """As read_rows, where no image is a JPEG."""
    buffer = np.empty(0, np.uint8)
    for i in range(first, last):
        buffer = enlarge(buffer, stored.sizes[i]) if stored.file >= 0 else buffer
        data, status[i] = fetch(stored, i, buffer)
        if status[i] == OK:
            status[i] = read_raw(data, (stored.shapes[i, 0], stored.shapes[i, 1]), crop_of(crops, i), out[i])


@njit(parallel=True, **_STRICT)
def raw_batch(threads, stored, crops, out, status):
    """As jpeg_batch, where no image is a JPEG: the quicker to compile."""
    rows = len(status)
    for t in prange(threads):
        read_raw_rows(t * rows // threads, (t + 1) * rows // threads, stored, crops, out, status)


@njit(parallel=True, **_STRICT)
def jpeg_batch(threads, stored, crops, out, status):
    """Read a batch (`Stored`, `Crops`) into out [B, S, S, 3] and the status of each image [B], both uint8."""
    rows = len(status)
    for t in prange(threads):
        read_rows(t * rows // threads, (t + 1) * rows // threads, stored, crops, out, status)
