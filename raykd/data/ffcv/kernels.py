"""The compiled kernel that reads a batch: decode only what the crop needs, resize, flip.

numba's cache watches this file alone, so everything that the kernel calls stands here; it is compiled once per
machine, not once per process. Arithmetic is strict (no fastmath), so that other machines get the same pixels.
"""

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
def columns_of(start, length, size, limit, shrink, inner, flip, channels):
    """How `widen` brings a line to `size`, mirrored where flip: first sample and count of what a line holds, and
    of each output pixel the offset of its first sample in the line, in bytes, and its weights, as many for all."""
    first, count, weights = axis(start, length, size, limit, shrink, inner)
    begin, extent, most = first[0], first[-1] + count[-1] - first[0], count.max()
    offsets, packed = np.empty(size, np.uintp), np.zeros((size, most), np.float32)
    for x in range(size):
        source = size - 1 - x if flip else x
        offsets[x] = np.uintp((first[source] - begin) * channels * 4)
        packed[x, : count[source]] = weights[source, : count[source]]
    return begin, extent, offsets, packed


@njit(**_STRICT)
def room(columns, channels):
    """A line of floats for `widen`, and zeros after it: pixels of fewer weights than others read on into them."""
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
def resize_pixels(image, box, inner, flip, out):
    """out = the box of an RGB image [H, W, 3], resized; inner: pixels outside the box don't count."""
    size, (height, width, _) = out.shape[0], image.shape
    rows, columns = (
        axis(box[0], box[2], size, height, 1, inner),
        columns_of(box[1], box[3], size, width, 1, inner, flip, 3),
    )
    begin, extent = columns[0] * 3, columns[1] * 3
    line, row, flat = room(columns, 3), np.empty(3 * size + 4, np.float32), image.reshape(-1)
    for y in range(size):
        squeeze(flat, width * 3, rows, y, begin, line[:extent])
        widen(line, columns, 3, row)
        to_bytes(row, out[y].reshape(-1))


@njit(**_STRICT)
def resize_planes(luma, blue, red, box, down, across, inner, flip, out):
    """As resize_pixels, from YCbCr planes [h, w]; a chroma sample stands for down × across luma samples.

    Resizing is linear and so is the change of colours: the result differs from decoding to RGB first only by rounding,
    and by how chroma is brought to full size (here by the same filter, there by libjpeg's own).
    """
    size = out.shape[0]
    rows = axis(box[0], box[2], size, luma.shape[0], 1, inner)
    columns = columns_of(box[1], box[3], size, luma.shape[1], 1, inner, flip, 1)
    rows_c = axis(box[0], box[2], size, blue.shape[0], down, inner)
    columns_c = columns_of(box[1], box[3], size, blue.shape[1], across, inner, flip, 2)
    line, line_c = room(columns, 1), room(columns_c, 2)
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
    """Where a JPEG keeps its height, where its scan starts, MCUs between restarts, MCU height and width in blocks.

    All zero for what the partial decoder doesn't take: anything but plain segments with one baseline frame of Y, Cb, Cr
    in one scan. Stricter than libjpeg, so that both find the same frame. Nothing is read beyond data.
    """
    at, frame, interval, down, across = 2, 0, 0, 0, 0
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], word(data, at + 2)
        end = at + 2 + length
        if length < 2 or end > len(data):
            break
        if marker == 0xDA:
            if frame and length == 12 and data[at + 4] == 3:
                return frame, end, interval, down, across
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
    return 0, 0, 0, 0, 0


@njit(**_STRICT)
def restart(data, at, first, count):
    """Position after `count` restart markers from `at` on, numbered from `first` on; −1 where they aren't there."""
    base = np.uintp(data.ctypes.data)
    for number in range(first, first + count):
        marker = np.uint8(0)
        while marker == 0 or marker == 0xFF:  # a stuffed byte or filling, not a marker
            if at + 1 >= len(data):
                return -1
            found = find_byte(base + np.uintp(at), np.int32(0xFF), np.uint64(len(data) - 1 - at))
            if found == 0:
                return -1
            at = np.int64(found - base) + 1
            marker = data[at]
        if marker != 0xD0 | (number & 7):
            return -1
        at += 1
    return at


@njit(**_STRICT)
def crop_rows(data, frame, scan, first, last, height, buffer):
    """A JPEG of the restart intervals first … last − 1 of data, `height` pixels high; its length, −1 where damaged."""
    begin = restart(data, scan, 0, first)
    if begin < 0:
        return -1
    buffer[:scan] = data[:scan]
    buffer[frame], buffer[frame + 1] = np.uint8(height >> 8), np.uint8(height & 255)
    length = scan
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
def resize_jpeg(decoder, data, height, width, box, inner, flip, buffers, out):
    """As resize_pixels, from a JPEG: decodes only the rows that the box needs, shrunk where it is much larger than out.

    Returns OK or CORRUPT, or −1 for a JPEG that has to be decoded whole.
    """
    scratch, part, planes, strides = buffers  # held by the caller: C code gets only their addresses
    frame, scan, interval, down, across = parse(data)
    factor, size = shrinkage(box, out.shape[0]), out.shape[0]
    if not 1 <= down <= 2 or not 1 <= across <= 2 or word(data, frame) != height or word(data, frame + 2) != width:
        return -1
    mcus, top, length = -(-width // (8 * across)), 0, len(data)
    address = np.uintp(data.ctypes.data)
    if interval and interval % mcus == 0:
        unit, margin = interval // mcus * 8 * down, 0.0 if inner else max(box[2] / size, 2.0) + 2.0 * factor
        first = int(max(box[0] - margin, 0.0)) // unit
        last = int(-(-min(box[0] + box[2] + margin, float(height)) // unit))
        top = first * unit
        height = min(last * unit, height) - top
        length = crop_rows(data, frame, scan, first, last, height, part)
        if length < 0:
            return CORRUPT
        address = np.uintp(part.ctypes.data)
    tall, wide = -(-height // factor), -(-width // factor)
    tall_c, wide_c = -(-tall // down), -(-wide // across)
    luma_size, chroma_size = tall_c * down * wide_c * across, tall_c * wide_c
    planes[0] = np.uintp(scratch.ctypes.data)
    planes[1], planes[2] = planes[0] + np.uintp(luma_size), planes[0] + np.uintp(luma_size + chroma_size)
    strides[0], strides[1], strides[2] = wide_c * across, wide_c, wide_c
    failed = decompress_planes(
        decoder, address, np.uint64(length), np.uintp(planes.ctypes.data), np.int32(wide),
        np.uintp(strides.ctypes.data), np.int32(tall), np.int32(0),
    )  # fmt: skip
    if failed:
        return CORRUPT
    local = np.empty(4, np.float64)
    local[0], local[1], local[2], local[3] = box[0] - top, box[1], box[2], box[3]
    local /= factor
    luma = scratch[:luma_size].reshape(tall_c * down, wide_c * across)[:tall]
    blue = scratch[luma_size : luma_size + chroma_size].reshape(tall_c, wide_c)
    red = scratch[luma_size + chroma_size : luma_size + 2 * chroma_size].reshape(tall_c, wide_c)
    resize_planes(luma, blue, red, local, down, across, inner, flip, out)
    return OK


@njit(**_STRICT)
def decode_whole(decoder, data, height, width, scratch):
    """A JPEG as RGB [height, width, 3] in scratch, and the status of that."""
    pixels, address, length = np.uintp(scratch.ctypes.data), np.uintp(data.ctypes.data), np.uint64(len(data))
    image, shape = scratch[: height * width * 3].reshape(height, width, 3), np.zeros(4, np.int32)
    out = np.uintp(shape.ctypes.data)
    if read_header(decoder, address, length, out, out + np.uintp(4), out + np.uintp(8), out + np.uintp(12)):
        return image, CORRUPT
    if shape[0] != width or shape[1] != height:  # libjpeg would shrink it to fit, or leave the rest as it was
        return image, OTHER_SIZE
    failed = decompress(
        decoder, address, length, pixels, np.int32(width), np.int32(0), np.int32(height), np.int32(0),
        np.int32(LIMIT_SCANS),
    )  # fmt: skip
    return image, CORRUPT if failed else OK


@njit(**_STRICT)
def place(image, box, flip, fill, resample, inner, out):
    """The box of a decoded image, brought to out's size."""
    if resample:
        resize_pixels(image, box, inner, flip, out)
    else:
        copy_box(image, box, fill, flip, out)


@njit(**_STRICT)
def read_raw(data, height, width, box, flip, fill, resample, inner, out):
    """One image that is stored as pixels; OK or CORRUPT."""
    if len(data) != height * width * 3:
        return CORRUPT
    place(data.reshape(height, width, 3), box, flip, fill, resample, inner, out)
    return OK


@njit(**_STRICT)
def read_jpeg(decoder, data, height, width, box, flip, fill, resample, inner, buffers, out):
    """One image that is stored as JPEG; its status."""
    if resample:
        status = resize_jpeg(decoder, data, height, width, box, inner, flip, buffers, out)
        if status >= 0:
            return status
    image, status = decode_whole(decoder, data, height, width, buffers[0])
    if status == OK:
        place(image, box, flip, fill, resample, inner, out)
    return status


@njit(**_STRICT)
def room_for(size, buffer):
    """The buffer, or a larger one where it is too small; one of nothing where there is no memory for that."""
    if len(buffer) >= size:
        return buffer
    try:
        return np.empty(size, np.uint8)
    except Exception:  # noqa: BLE001  numba knows no other; a MemoryError here would end the thread, its image unnamed
        return np.empty(0, np.uint8)


@njit(**_STRICT)
def fetch(file, memory, offset, size, buffer):
    """The bytes of an image, and their status: from an open file by way of the buffer, else as they lie in memory.

    Files are read, not mapped: a mapped one that is truncated meanwhile would end the process (SIGBUS).
    """
    if file < 0:
        return memory[offset : offset + size], OK
    if len(buffer) < size:
        return buffer, NO_MEMORY
    count = read_at(np.int32(file), np.uintp(buffer.ctypes.data), np.uint64(size), np.int64(offset))
    return buffer[:size], OK if count == size else CUT_OFF


@njit(**_STRICT)
def read_rows(
    first, last, file, memory, offsets, sizes, shapes, jpeg, boxes, flips, fill, resample, inner, out, status
):
    """Rows first … last − 1 of a batch that has JPEGs, on one thread."""
    decoder, stored = init_decompress(), np.empty(0, np.uint8)
    scratch, part = np.empty(0, np.uint8), np.empty(0, np.uint8)
    planes, strides = np.empty(3, np.uintp), np.empty(3, np.int32)
    for i in range(first, last):
        height, width, how = shapes[i, 0], shapes[i, 1], (boxes[i], flips[i], fill, resample, inner)
        stored = room_for(sizes[i], stored) if file >= 0 else stored
        data, status[i] = fetch(file, memory, offsets[i], sizes[i], stored)
        if status[i] != OK:
            continue
        if not jpeg[i]:
            status[i] = read_raw(data, height, width, *how, out[i])
            continue
        scratch, part = room_for((height + 1) * (width + 1) * 3, scratch), room_for(sizes[i] + 2, part)
        if len(scratch) == 0 or len(part) == 0:
            status[i] = NO_MEMORY
            continue
        status[i] = read_jpeg(decoder, data, height, width, *how, (scratch, part, planes, strides), out[i])
    destroy(decoder)


@njit(**_STRICT)
def read_raw_rows(first, last, file, memory, offsets, sizes, shapes, boxes, flips, fill, resample, inner, out, status):
    """As read_rows, where no image is a JPEG."""
    stored = np.empty(0, np.uint8)
    for i in range(first, last):
        stored = room_for(sizes[i], stored) if file >= 0 else stored
        data, status[i] = fetch(file, memory, offsets[i], sizes[i], stored)
        if status[i] == OK:
            status[i] = read_raw(data, shapes[i, 0], shapes[i, 1], boxes[i], flips[i], fill, resample, inner, out[i])


@njit(parallel=True, **_STRICT)
def raw_batch(threads, file, memory, offsets, sizes, shapes, boxes, flips, fill, resample, inner, out, status):
    """As jpeg_batch, where no image is a JPEG: the quicker to compile."""
    rows = len(offsets)
    for t in prange(threads):
        first, last = t * rows // threads, (t + 1) * rows // threads
        read_raw_rows(
            first, last, file, memory, offsets, sizes, shapes, boxes, flips, fill, resample, inner, out, status
        )


@njit(parallel=True, **_STRICT)
def jpeg_batch(threads, file, memory, offsets, sizes, shapes, jpeg, boxes, flips, fill, resample, inner, out, status):
    """A batch, to out [B, S, S, 3] and status [B].

    Image i is the sizes[i] bytes at offsets[i] of the open file, or of memory where file is −1; height and width are
    shapes[i], and it is a JPEG or raw. Its box becomes the output, by the antialiased linear filter where `resample`,
    else copied with `fill` around; see resize_pixels for `inner`.
    """
    rows = len(offsets)
    for t in prange(threads):
        first, last = t * rows // threads, (t + 1) * rows // threads
        read_rows(
            first, last, file, memory, offsets, sizes, shapes, jpeg, boxes, flips, fill, resample, inner, out, status
        )
