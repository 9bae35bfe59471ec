"""What the kernels are given and return."""

from typing import NamedTuple

import numpy as np

OK, CORRUPT, OTHER_SIZE, CUT_OFF, NO_MEMORY = range(5)  # the status of an image


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
    fill: int  # value of pixels outside the image, if it is not resampled
    resample: bool  # resize the box by the antialiased linear filter; else copy it, one pixel for one
    inner: bool  # ignore pixels outside the box, as if they had been cut away first


class Frame(NamedTuple):
    """Positions in a JPEG, and its sampling; all zero for a JPEG that the partial decoder can't read."""

    size: int  # position of height and width
    scan: int  # position of the entropy-coded data
    interval: int  # MCUs between restart markers, or 0
    down: int  # luma samples per chroma sample, vertically and (`across`) horizontally
    across: int


class Buffers(NamedTuple):
    """Scratch memory of one thread. The caller must keep a reference, as C code gets only the addresses."""

    pixels: np.ndarray  # uint8, for decoded images
    part: np.ndarray  # uint8, for a JPEG of some of the rows
    planes: np.ndarray  # [3] addresses
    strides: np.ndarray  # [3] bytes
