"""Decodes a source's pictures to uint8 [H, W, 3].

The first frame, rotated by its EXIF orientation; transparency composited on a background; palettes, CMYK, grey and
bilevel converted; levels of more than 8 bits scaled if the level of white is known, else refused.
"""

import io
import stat
import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from raykd.storage.damage import DAMAGE

Picture = Path | bytes | np.ndarray | Image.Image
"""An image file, its bytes, an array of levels [H, W] or [H, W, 1 to 4], or an image of PIL."""
Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)
UNSUPPORTED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PDF", "WMF"})
"""Formats that PIL can't decode without another program."""
MAX_SIDE = 65_535  # pixels of a side, which a .beton counts in 16 bits
DARK_PEAK = 4096  # the peak of 12 bits: a 16-bit picture below it is more likely one of 12 bits than a dark one

DECODE_ERRORS: tuple[type[Exception], ...] = (*DAMAGE, SyntaxError, Image.DecompressionBombError)
"""What PIL's decoders raise."""

# At twice the size PIL raises an error, which names the image; the warning would only break the progress bar.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@lru_cache(maxsize=1)
def formats() -> tuple[str, ...]:
    """PIL's names of the image formats that it decodes by itself."""
    Image.init()
    return tuple(name for name in Image.OPEN if name not in UNSUPPORTED)


@lru_cache(maxsize=1)
def suffixes() -> frozenset[str]:
    """Suffixes of image files in lower case, with their dot: PIL's own list."""
    known = {*formats(), "MPO"}  # which the reader of JPEG opens
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in known)


def read_rgb(picture: Picture, ground: Colour = WHITE, white: float = 0.0) -> np.ndarray:
    """A picture as uint8 [H, W, 3]; raises ValueError or OSError with the reason if it can't be decoded.

    ground: background of transparent pictures. white: the level of white in pictures of more than 8 bits; 0: 65,535
    for those of 16 bits, and others are refused.
    """
    try:
        pixels = _decoded(picture, ground, white)
    except (OSError, ValueError):
        raise
    except MemoryError:
        raise ValueError("not enough memory to decode it") from None
    except DECODE_ERRORS as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if not pixels.size or max(pixels.shape) > MAX_SIDE:
        raise ValueError(f"its sides must be 1 to {MAX_SIDE:,} pixels, not {pixels.shape[1]}×{pixels.shape[0]}")
    return pixels


def _decoded(picture: Picture, ground: Colour, white: float) -> np.ndarray:
    if isinstance(picture, np.ndarray):
        return _from_array(picture, ground, white)
    if isinstance(picture, Image.Image):
        return _from_pil(picture, ground, white)
    if isinstance(picture, bytes):
        source: io.BytesIO | Path = io.BytesIO(picture)
    elif not isinstance(picture, Path):
        raise ValueError(f"a picture is a path, bytes, an array or an image of PIL, not {type(picture).__name__}")
    else:
        # Reading from a pipe or a device would never end.
        if not stat.S_ISREG(picture.stat().st_mode):
            raise ValueError("not a regular file")
        source = picture
    with Image.open(source, formats=formats()) as image:
        return _from_pil(image, ground, white)


def _from_pil(image: Image.Image, ground: Colour, white: float) -> np.ndarray:
    format_ = image.format
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        # PIL spreads the levels of these formats over 16 bits, whatever the file has.
        sixteen = image.mode.startswith("I;") or format_ in ("PNG", "PPM")
        return _scaled(np.asarray(image), white, 65_535 if sixteen and image.mode != "F" else 0)
    if image.has_transparency_data:
        below = Image.new("RGBA", image.size, (*ground, 255))
        image = Image.alpha_composite(below, image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))


def _from_array(levels: np.ndarray, ground: Colour, white: float) -> np.ndarray:
    if levels.ndim == 3 and levels.shape[2] == 1:
        levels = levels[..., 0]
    channels = levels.shape[2] if levels.ndim == 3 else 1
    if levels.ndim not in (2, 3) or channels > 4 or not levels.size:
        raise ValueError(f"not an image [H, W, 3] but {levels.dtype} {list(levels.shape)}")
    if levels.dtype != np.uint8:
        return _scaled(levels, white, 65_535 if levels.dtype == np.uint16 else 0)
    if channels == 3:
        return levels
    return _from_pil(Image.fromarray(np.ascontiguousarray(levels)), ground, white)


def _scaled(levels: np.ndarray, white: float, default: int) -> np.ndarray:
    """Levels of more than 8 bits, [H, W] or [H, W, 3], as uint8 [H, W, 3].

    default: the level of white if `white` is 0; 0: unknown.
    """
    if levels.dtype.kind not in "iuf" or levels.ndim == 3 and levels.shape[2] != 3:
        raise ValueError(f"not an image [H, W, 3] but {levels.dtype} {list(levels.shape)}")
    least, most, top = levels.min(), levels.max(), white or default
    if not top:
        raise ValueError(
            f"its values are {levels.dtype}, {least:g} to {most:g}: set encoding.white to the value of white"
        )
    if not white and most < DARK_PEAK:
        raise ValueError(
            f"its brightest value is {most} of {default:,}, as if it had fewer bits: set encoding.white to the value "
            f"of white, e.g. 4095, or to {default} if the image is just dark"
        )
    if not (least >= 0 and most <= top):  # NaN too
        raise ValueError(f"its values, {least:g} to {most:g}, are outside 0 to {top:g}, the value of white")
    scaled = np.rint(levels * (255.0 / top)).astype(np.uint8)
    return scaled if scaled.ndim == 3 else np.repeat(scaled[..., None], 3, axis=2)
