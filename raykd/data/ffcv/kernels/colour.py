"""Colour operations on uint8 images [S, S, 3], compiled; each as torchvision defines it for uint8 tensors."""

import math

import numpy as np
from numba import njit, prange

from raykd.data.device.compiled import once_per_machine
from raykd.data.ffcv.kernels.compiled import SOURCES, STRICT

# Operations, numbered as in augment/colour.py (whose constants numba would freeze into the cache unseen).
SHEAR_X, SHEAR_Y, TRANSLATE_X, TRANSLATE_Y, ROTATE, BRIGHTNESS, SATURATION = range(1, 8)
CONTRAST, SHARPNESS, POSTERIZE, SOLARIZE, AUTOCONTRAST, EQUALIZE, HUE, CUTOUT = range(8, 16)


@njit(**STRICT)
def clamp(value):
    """A float clamped to 0–255 and truncated to an integer."""
    return np.uint8(min(max(value, 0.0), 255.0))


@njit(**STRICT)
def grey(pixel):
    """Luma, rounded down to an integer."""
    return np.floor(0.2989 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2])


@njit(**STRICT)
def blend(image, factor, operation):
    """factor·image + (1 − factor)·(black, own grey, or mean grey)."""
    size, mean = image.shape[0], 0.0
    if operation == CONTRAST:
        for y in range(size):
            for x in range(size):
                mean += grey(image[y, x])
        mean /= size * size
    for y in range(size):
        for x in range(size):
            other = grey(image[y, x]) if operation == SATURATION else mean
            for c in range(3):
                image[y, x, c] = clamp(factor * image[y, x, c] + (1.0 - factor) * other)


@njit(**STRICT)
def sharpen(image, copy, factor):
    """factor·image + (1 − factor)·image smoothed by (1 1 1, 1 5 1, 1 1 1)/13; the border stays."""
    size = image.shape[0]
    copy[:] = image
    for y in range(1, size - 1):
        for x in range(1, size - 1):
            for c in range(3):
                total = 4.0 * copy[y, x, c]
                for i in range(-1, 2):
                    for j in range(-1, 2):
                        total += copy[y + i, x + j, c]
                image[y, x, c] = clamp(factor * copy[y, x, c] + (1.0 - factor) * np.rint(total / 13.0))


@njit(**STRICT)
def warp(image, copy, operation, value):
    """Shear about the corner, shift, or rotation about the centre; nearest pixel, black outside."""
    size, a, b, c, d, e, f, center = image.shape[0], 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0
    if operation == SHEAR_X:
        b = value
    elif operation == SHEAR_Y:
        d = value
    elif operation == TRANSLATE_X:
        c = -value
    elif operation == TRANSLATE_Y:
        f = -value
    else:
        center, angle = size / 2.0, -math.radians(value)
        a, b, d, e = math.cos(angle), math.sin(angle), -math.sin(angle), math.cos(angle)
    copy[:] = image
    for y in range(size):
        for x in range(size):
            u, v = x + 0.5 - center, y + 0.5 - center
            column = int(np.rint(a * u + b * v + c + center - 0.5))
            row = int(np.rint(d * u + e * v + f + center - 0.5))
            inside = 0 <= row < size and 0 <= column < size
            for channel in range(3):
                image[y, x, channel] = copy[row, column, channel] if inside else np.uint8(0)


@njit(**STRICT)
def autocontrast(image):
    """Stretch each channel to 0–255."""
    for c in range(3):
        low, high = float(image[..., c].min()), float(image[..., c].max())
        if high > low:
            for y in range(image.shape[0]):
                for x in range(image.shape[1]):
                    image[y, x, c] = clamp((image[y, x, c] - low) * (255.0 / (high - low)))


@njit(**STRICT)
def equalize(image):
    """Equalise each channel's histogram."""
    size = image.shape[0]
    for c in range(3):
        histogram = np.zeros(256, np.int64)
        for y in range(size):
            for x in range(size):
                histogram[image[y, x, c]] += 1
        last = 255
        while histogram[last] == 0:
            last -= 1
        step = (size * size - histogram[last]) // 255
        if step == 0:
            continue
        table, total = np.empty(256, np.uint8), step // 2
        for level in range(256):
            table[level] = min(total // step, 255)
            total += histogram[level]
        for y in range(size):
            for x in range(size):
                image[y, x, c] = table[image[y, x, c]]


@njit(**STRICT)
def shift_hue(image, shift):
    """Shift the hue of every pixel by `shift` turns of the colour circle."""
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            r, g, b = image[y, x, 0] / 255.0, image[y, x, 1] / 255.0, image[y, x, 2] / 255.0
            high, low = max(r, g, b), min(r, g, b)
            spread = high - low
            if spread == 0.0:
                continue
            if high == r:
                hue = (g - b) / spread
            elif high == g:
                hue = 2.0 + (b - r) / spread
            else:
                hue = 4.0 + (r - g) / spread
            hue = (hue / 6.0 + shift) % 1.0
            for c in range(3):  # Smith 1978: each primary is a trapezoid over the circle
                place = (hue * 6.0 + 5.0 - 2.0 * c) % 6.0
                image[y, x, c] = clamp((high - spread * max(min(place, 4.0 - place, 1.0), 0.0)) * 255.0 + 0.5)


@njit(**STRICT)
def cut_out(image, top, left, side, fill):
    """Set a square to `fill` [3]."""
    size = image.shape[0]
    for y in range(max(top, 0), min(top + side, size)):
        for x in range(max(left, 0), min(left + side, size)):
            image[y, x] = fill


@njit(**STRICT)
def apply(image, copy, entry, side, fill):
    """One operation on one image."""
    operation, value = int(entry[0]), entry[1]
    if SHEAR_X <= operation <= ROTATE:
        warp(image, copy, operation, value)
    elif BRIGHTNESS <= operation <= CONTRAST:
        blend(image, value, operation)
    elif operation == SHARPNESS:
        sharpen(image, copy, value)
    elif operation == POSTERIZE:
        image[:] = image & np.uint8(256 - (1 << (8 - int(value))))
    elif operation == SOLARIZE:
        image[:] = np.where(image >= value, np.uint8(255) - image, image)
    elif operation == AUTOCONTRAST:
        autocontrast(image)
    elif operation == EQUALIZE:
        equalize(image)
    elif operation == HUE:
        shift_hue(image, value)
    elif operation == CUTOUT:
        cut_out(image, int(entry[1]), int(entry[2]), side, fill)


def _entry(sources):
    """The kernel that is called from Python; sources: a hash of all that it calls."""

    @njit(parallel=True, cache=True, **STRICT)
    def recolour(images, program, side, fill):
        """Every image [B, S, S, 3] through its list of operations [B, n, 3], in place."""
        sources  # noqa: B018  in the key of numba's cache
        for i in prange(images.shape[0]):
            copy = np.empty_like(images[i])
            for k in range(program.shape[1]):
                apply(images[i], copy, program[i, k], side, fill)

    return once_per_machine(recolour)


recolour = _entry(SOURCES)
