"""The one compiled kernel that reads a batch: decode, crop, resize, flip, each drawn from a hash of the sample's key.

numba's cache watches this file alone, so everything that the kernel calls stands here; it is compiled once per
machine, not once per process. Arithmetic is strict (no fastmath), so that other machines get the same pixels.
"""

import math

import numpy as np
from numba import njit, prange

from raykd.data.native import decompress, destroy, init_decompress
from raykd.data.plan import (
    AREA_HIGH,
    AREA_LOW,
    ASPECT_HIGH,
    ASPECT_LOW,
    CENTER,
    CROP,
    FILL,
    FLIP,
    KEEP_ASPECT,
    PADDING,
    RESIZE,
    RESIZED,
    WHOLE,
)

# What a draw is for: every use has its own numbers of the sample's key.
DRAW_CROP, DRAW_FLIP = 0, 64

OK, CORRUPT, MISFIT = 0, 1, 2
_GOLDEN, _M1, _M2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_STRICT = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(**_STRICT)
def mix(x):
    """splitmix64's finaliser; see order.splitmix64."""
    x = (x ^ (x >> _S30)) * _M1
    x = (x ^ (x >> _S27)) * _M2
    return x ^ (x >> _S31)


@njit(**_STRICT)
def sample_key(seed, passed, index):
    """The key of one sample in one pass; equals order.keys(seed, passed, index)."""
    key = mix(_GOLDEN + mix(np.uint64(seed) + _GOLDEN))
    key = mix(key + _GOLDEN + mix(np.uint64(passed) + _GOLDEN))
    return mix(key + _GOLDEN + mix(np.uint64(index) + _GOLDEN))


@njit(**_STRICT)
def draw(key, which):
    """Number `which` in [0, 1) of a key."""
    return (mix(key + _GOLDEN * np.uint64(which + 1)) >> _S11) * 2.0**-53


@njit(**_STRICT)
def random_box(key, plan, height, width):
    """Top, left, height, width of a random-resized crop: Szegedy et al. 2015, as torchvision draws it (10 tries)."""
    for attempt in range(10):
        first = DRAW_CROP + 4 * attempt
        area = height * width * (plan[AREA_LOW] + (plan[AREA_HIGH] - plan[AREA_LOW]) * draw(key, first))
        low, high = math.log(plan[ASPECT_LOW]), math.log(plan[ASPECT_HIGH])
        aspect = math.exp(low + (high - low) * draw(key, first + 1))
        w, h = int(round(math.sqrt(area * aspect))), int(round(math.sqrt(area / aspect)))
        if 0 < w <= width and 0 < h <= height:
            return int((height - h + 1) * draw(key, first + 2)), int((width - w + 1) * draw(key, first + 3)), h, w
    aspect = min(max(width / height, plan[ASPECT_LOW]), plan[ASPECT_HIGH])
    w, h = min(width, int(round(height * aspect))), min(height, int(round(width / aspect)))
    return (height - h) // 2, (width - w) // 2, h, w


@njit(**_STRICT)
def resized_shape(plan, height, width):
    """Height and width after the plan's resizing of the whole image."""
    size = int(plan[RESIZE])
    if size == 0:
        return height, width
    if plan[KEEP_ASPECT] == 0.0:
        return size, size
    return (size, int(size * width / height)) if height <= width else (int(size * height / width), size)


@njit(**_STRICT)
def box(key, plan, height, width, size):
    """Top, left, height, width in source pixels of what becomes the size × size output; may exceed the image."""
    if plan[CROP] == RESIZED:
        top, left, h, w = random_box(key, plan, height, width)
        return float(top), float(left), float(h), float(w)
    tall, wide = resized_shape(plan, height, width)
    if plan[CROP] == WHOLE:
        return 0.0, 0.0, float(height), float(width)
    if plan[CROP] == CENTER:  # torchvision rounds halves to even, too
        top, left = int(round((tall - size) / 2.0)), int(round((wide - size) / 2.0))
    else:
        padding = int(plan[PADDING])
        top = int((tall + 2 * padding - size + 1) * draw(key, DRAW_CROP)) - padding
        left = int((wide + 2 * padding - size + 1) * draw(key, DRAW_CROP + 1)) - padding
    down, across = height / tall, width / wide
    return top * down, left * across, size * down, size * across


@njit(**_STRICT)
def copy_box(image, top, left, fill, flip, out):
    """out = the size × size box of image at whole pixels, `fill` outside it, mirrored where flip."""
    size, height, width = out.shape[0], image.shape[0], image.shape[1]
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
def resize_box(image, top, left, h, w, inner, flip, out):
    """out = the box of image, resized; inner: pixels outside the box don't count, as after a crop."""
    size, height, width = out.shape[0], image.shape[0], image.shape[1]
    rows, columns = int(max(h / size, 1.0) * 2) + 3, int(max(w / size, 1.0) * 2) + 3
    first_y, count_y, weights_y = np.empty(size, np.int64), np.empty(size, np.int64), np.empty((size, rows), np.float32)
    first_x, count_x = np.empty(size, np.int64), np.empty(size, np.int64)
    weights_x = np.empty((size, columns), np.float32)
    taps(top, h, size, int(top) if inner else 0, int(top + h) if inner else height, first_y, count_y, weights_y)
    taps(left, w, size, int(left) if inner else 0, int(left + w) if inner else width, first_x, count_x, weights_x)
    begin, end = first_x[0], first_x[size - 1] + count_x[size - 1]
    line = np.empty((end - begin) * 3, np.float32)
    for y in range(size):
        line[:] = np.float32(0.0)
        for k in range(count_y[y]):
            weight, source = weights_y[y, k], image[first_y[y] + k].reshape(-1)[begin * 3 : end * 3]
            for j in range(len(line)):
                line[j] += weight * np.float32(source[j])
        for x in range(size):
            red, green, blue = np.float32(0.5), np.float32(0.5), np.float32(0.5)
            j = (first_x[x] - begin) * 3
            for k in range(count_x[x]):
                weight = weights_x[x, k]
                red += weight * line[j + 3 * k]
                green += weight * line[j + 3 * k + 1]
                blue += weight * line[j + 3 * k + 2]
            column = size - 1 - x if flip else x
            out[y, column, 0], out[y, column, 1], out[y, column, 2] = np.uint8(red), np.uint8(green), np.uint8(blue)


@njit(**_STRICT)
def place(image, key, plan, out):
    """One image through the plan's geometry; MISFIT where it has the wrong size for it."""
    height, width, size = image.shape[0], image.shape[1], out.shape[0]
    top, left, h, w = box(key, plan, height, width, size)
    flip = draw(key, DRAW_FLIP) < plan[FLIP]
    if plan[CROP] == RESIZED or plan[RESIZE] != 0.0:
        if plan[CROP] != WHOLE and (top < 0 or left < 0):
            return MISFIT
        resize_box(image, top, left, h, w, plan[CROP] == RESIZED, flip, out)
        return OK
    if (plan[CROP] == WHOLE and (height != size or width != size)) or min(height, width) + 2 * plan[PADDING] < size:
        return MISFIT
    copy_box(image, int(top), int(left), np.uint8(plan[FILL]), flip, out)
    return OK


@njit(**_STRICT)
def read_rows(first, last, memory, offsets, sizes, shapes, keys, plan, out, status):
    """Rows first … last − 1 of a batch, on one thread."""
    decoder, scratch = np.uintp(0), np.empty(0, np.uint8)
    for i in range(first, last):
        height, width, jpeg = shapes[i, 0], shapes[i, 1], shapes[i, 2] != 0
        data, area = memory[offsets[i] : offsets[i] + sizes[i]], height * width * 3
        if jpeg:
            if decoder == 0:
                decoder = init_decompress()
            if len(scratch) < area:
                scratch = np.empty(area, np.uint8)
            pixels = np.uintp(scratch.ctypes.data)
            failed = decompress(
                decoder, np.uintp(data.ctypes.data), np.uint64(len(data)), pixels,
                np.int32(width), np.int32(0), np.int32(height), np.int32(0), np.int32(0),
            )  # fmt: skip
            status[i] = CORRUPT if failed else place(scratch[:area].reshape(height, width, 3), keys[i], plan, out[i])
        elif len(data) != area:
            status[i] = CORRUPT
        else:
            status[i] = place(data.reshape(height, width, 3), keys[i], plan, out[i])
    if decoder != 0:
        destroy(decoder)


@njit(parallel=True, **_STRICT)
def read_batch(threads, memory, offsets, sizes, shapes, keys, plan, out, status):
    """Bytes memory[offsets[i] : + sizes[i]], shapes [B, 3] of (height, width, is JPEG) → out [B, S, S, 3]."""
    rows = len(keys)
    for t in prange(threads):
        first, last = t * rows // threads, (t + 1) * rows // threads
        read_rows(first, last, memory, offsets, sizes, shapes, keys, plan, out, status)
