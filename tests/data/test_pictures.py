"""Image files of every kind are decoded to the pixels that a viewer shows, or rejected with a reason."""

import io
import os
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from raykd.data.reading.pictures import DECODE_ERRORS, formats, read_rgb, suffixes
from tests.support.toy import photograph

RAMP = np.linspace(0, 65_535, 48 * 48).reshape(48, 48)


def stored(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation):
    """Each orientation by EXIF's definition: where row 0 and column 0 of the stored pixels are shown."""
    pixels = photograph(0, 20, 30)
    shown = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, -1),
        7: pixels[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(pixels),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("PNG", "TIFF"):
        np.testing.assert_array_equal(read_rgb(stored(Image.fromarray(pixels), kind, exif=exif)), shown)
    assert read_rgb(stored(Image.fromarray(pixels), "JPEG", exif=exif)).shape == shown.shape


@pytest.mark.parametrize("ground", [(255, 255, 255), (10, 200, 30)])
def test_transparent_pixels_show_the_background(ground):
    alpha = np.full((16, 16), 255, np.uint8)
    alpha[:8], alpha[8:12] = 0, 128
    colour = np.full((16, 16, 3), (200, 40, 90), np.uint8)
    expected = np.rint(alpha[..., None] / 255 * colour + (1 - alpha[..., None] / 255) * np.array(ground))
    rgba = np.concatenate([colour, alpha[..., None]], 2)
    for picture in (stored(Image.fromarray(rgba), "PNG"), rgba, Image.fromarray(rgba)):
        assert np.abs(read_rgb(picture, ground) - expected).max() <= 1
    grey = Image.fromarray(np.stack([np.zeros_like(alpha), alpha], 2), mode="LA")
    assert np.abs(read_rgb(stored(grey, "PNG"), ground) - (1 - alpha[..., None] / 255) * np.array(ground)).max() <= 1


def test_a_palettes_transparent_colour_shows_the_background():
    image = Image.new("P", (8, 8), 0)
    image.putpalette([0, 0, 0, 0, 0, 0])
    image.paste(1, (2, 2, 6, 6))
    for kind in ("PNG", "GIF"):
        pixels = read_rgb(stored(image, kind, transparency=0))
        assert (pixels[3, 3] == 0).all() and (pixels[0, 0] == 255).all()


@pytest.mark.parametrize(
    "kind, name",
    [("uint16", "PNG"), ("uint16", "TIFF"), ("uint16", "PPM"), ("uint16", None), ("uint16", "JPEG2000")],
)
def test_sixteen_bit_images_are_scaled(kind, name):
    levels = RAMP.astype(kind)
    expected = np.rint(levels / 257)
    picture = levels if name is None else stored(Image.fromarray(levels), name)
    assert np.abs(read_rgb(picture)[..., 1] - expected).max() <= 1


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
def test_twelve_bit_images_require_a_white_level(name):
    """12-bit values in 16 bits would be nearly black; for a really dark image, 65,535 is given as white."""
    levels = (RAMP / 16.01).astype("uint16")
    picture = stored(Image.fromarray(levels), name)
    with pytest.raises(ValueError, match=r"brightest value is 4093 of 65,535.*encoding\.white"):
        read_rgb(picture)
    assert np.abs(read_rgb(picture, white=4095)[..., 0] - np.rint(levels / 4095 * 255)).max() <= 1
    assert read_rgb(picture, white=65_535).max() == 16


@pytest.mark.parametrize("kind", ["int32", "float32"])
def test_values_without_a_known_white_level_are_rejected(kind):
    levels = (RAMP / (65_535 if kind == "float32" else 1)).astype(kind)
    picture = stored(Image.fromarray(levels), "TIFF")
    with pytest.raises(ValueError, match=rf"values are {kind}, 0 to .*: set encoding\.white"):
        read_rgb(picture)
    white = 1.0 if kind == "float32" else 65_535
    assert np.abs(read_rgb(picture, white=white)[..., 2] - np.rint(RAMP / 257)).max() <= 1
    with pytest.raises(ValueError, match="are outside 0 to"):
        read_rgb(picture, white=white / 2)
    with pytest.raises(ValueError, match="are outside 0 to"):
        read_rgb(np.full((4, 4), np.nan, np.float32), white=1.0)


def test_cmyk_bilevel_and_grey_images_are_converted():
    rgb = Image.fromarray(photograph(1, 24, 24))
    cmyk = read_rgb(stored(rgb.convert("CMYK"), "JPEG", quality=98, subsampling=0))
    assert np.abs(cmyk.astype(int) - np.asarray(rgb)).mean() < 6
    bilevel = rgb.convert("1")
    np.testing.assert_array_equal(read_rgb(stored(bilevel, "PNG"))[..., 0], np.asarray(bilevel) * 255)
    grey = np.asarray(rgb.convert("L"))
    for picture in (grey, grey[..., None], stored(Image.fromarray(grey), "PNG")):
        np.testing.assert_array_equal(read_rgb(picture), np.repeat(grey[..., None], 3, 2))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation_is_read(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if kind == "WEBP" else {}
    animation = stored(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert (read_rgb(animation) == (255, 0, 0)).all()


def test_suffixes_are_pils_image_formats():
    assert {".jpg", ".jfif", ".jpe", ".jp2", ".tif", ".avif", ".webp", ".mpo", ".qoi", ".apng"} <= suffixes()
    assert not {".eps", ".pdf", ".mpg", ".wmf", ".h5", ".txt"} & suffixes()


def test_documents_are_rejected(tmp_path):
    """Whatever the file's name: PIL passes EPS to Ghostscript, which executes it."""
    path = tmp_path / "picture.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises((OSError, ValueError)):
        read_rgb(path)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path), os.mkdir])
def test_only_regular_files_are_opened(tmp_path, make):
    make(tmp_path / "x.png")
    with pytest.raises(ValueError, match="not a regular file"):
        read_rgb(tmp_path / "x.png")


def test_decompression_bombs_are_rejected():
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for side in (12_000, 20_000):
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        bomb = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
        with pytest.raises((OSError, ValueError)):
            read_rgb(bomb)


def kinds() -> dict[str, bytes]:
    """A file of each format that PIL can both write and read."""
    found, rgb = {}, Image.fromarray(photograph(2, 24, 24))
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in formats():
        for image in (rgb, rgb.convert("P"), rgb.convert("L"), rgb.convert("1")):
            try:
                found[kind] = stored(image, kind, **({"exif": exif} if kind in ("JPEG", "PNG", "TIFF", "WEBP") else {}))
                break
            except DECODE_ERRORS:
                continue
    return found


KINDS = kinds()
CHANGES = st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=4)), max_size=4)  # place and new bytes


@settings(max_examples=400, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(KINDS)), CHANGES)
def test_damaged_files_of_every_format_are_read_or_rejected(kind, changes):
    content = bytearray(KINDS[kind])
    for at, new in changes:
        place = int(at**2 * (len(content) - 1))  # headers more often than pixels
        content[place : place + len(new)] = new
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pixels = read_rgb(bytes(content))
        except (OSError, ValueError) as error:
            assert str(error)
        else:
            assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
