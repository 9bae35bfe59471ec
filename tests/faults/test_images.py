"""Damaged images and image files: each is named in one line; nothing crashes, and no damaged pixels are trained on."""

import os
import subprocess
import sys
import threading
from collections import Counter

import numpy as np
import pytest

from raykd import UserError
from raykd.data.augment.pipeline import training
from raykd.data.config import Encoding
from raykd.data.examples import from_arrays
from raykd.data.ffcv.engine import Decode
from raykd.data.ffcv.kernels.types import CUT_OFF
from raykd.data.storage import beton
from raykd.data.storage.header import FIELD, HEADER, JPEG, SAMPLE, Header
from tests.faults import beton_fuzz as fuzz


def fuzzed(folder, first, count, seconds):
    """The result of each attempt, by kind; if a process dies, the next one continues after the fatal attempt."""
    results, deaths, last = Counter(), [], first + count
    while first < last:
        command = [sys.executable, "-m", "tests.faults.beton_fuzz", str(folder), str(first), str(last - first)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        lines = done.stdout.splitlines()
        results.update(line.rpartition("… ")[2] for line in lines if "… " in line)
        first += len(lines)
        if done.returncode:
            deaths.append(f"{lines[-1] if lines else ''} ended with {done.returncode}: {done.stderr[-300:]}")
            if not lines:
                break
    return results, deaths


def test_randomly_damaged_images_are_read_or_rejected(tmp_path):
    results, deaths = fuzzed(tmp_path, 0, 150, seconds=300)
    assert not deaths and set(results) == {"loaded", "refused"} and results.total() == 150


@pytest.mark.slow
def test_randomly_damaged_images_are_read_or_rejected_for_minutes(tmp_path):
    results, deaths = fuzzed(tmp_path, 1000, 20_000, seconds=3600)
    assert not deaths and set(results) == {"loaded", "refused"} and results.total() == 20_000


def changed(path, at, new):
    content = bytearray(path.read_bytes())
    content[at : at + len(new)] = new
    path.write_bytes(content)


def scan_length(data: bytes) -> tuple[int, bytes]:
    return data.index(b"\xff\xda") + 2, b"\xff\xff"


def end_in_ff(data: bytes) -> tuple[int, bytes]:
    return len(data) - 2, b"\x00\xff"


def first_length(data: bytes) -> tuple[int, bytes]:
    return 4, b"\xff\xf0"


def frame_at_the_end(data: bytes) -> tuple[int, bytes]:
    return len(data) - 4, b"\xff\xc0\x00\x11"


def all_restarts(data: bytes) -> tuple[int, bytes]:
    at = data.index(b"\xff\xd0")
    return at, b"\xff" * (len(data) - at)


@pytest.mark.parametrize("damage", [scan_length, end_in_ff, first_length, frame_at_the_end, all_restarts])
@pytest.mark.parametrize("train", ["crop", "copy"])
def test_wrong_jpeg_markers_are_read_or_rejected(tmp_path, damage, train):
    """If a bound were missing, this would crash the test session with SIGSEGV."""
    path = tmp_path / "x.beton"
    fuzz.write(path, "restarts")
    header, content = Header(path), path.read_bytes()
    for begin, size in zip(header.offsets, header.sizes, strict=True):
        at, new = damage(content[begin : begin + size])
        changed(path, begin + at, new)
    try:
        fuzz.load(path, train)
    except UserError as error:
        assert "x.beton: image" in str(error) and "byte" in str(error)


@pytest.mark.parametrize("real, told", [(96, 100), (96, 300), (192, 96), (96, 95)])
@pytest.mark.parametrize("train", ["crop", "resize", "copy"])
@pytest.mark.parametrize("loader", ["ffcv", "torch"])
def test_a_jpeg_whose_size_differs_from_the_table_is_rejected(tmp_path, real, told, train, loader):
    path, side = tmp_path / "x.beton", np.zeros((4, real, real, 3), np.uint8)
    beton.write(path, from_arrays(side, [0, 1, 2, 3], "x"), Encoding(mode="jpeg"))
    samples = np.fromfile(path, SAMPLE, 4, offset=HEADER.itemsize + 2 * FIELD.itemsize)
    samples["f0"]["width"] = samples["f0"]["height"] = told
    changed(path, HEADER.itemsize + 2 * FIELD.itemsize, samples.tobytes())
    with pytest.raises(UserError, match=r"x\.beton: image \d (is a JPEG whose size differs|is corrupt).*byte \d+"):
        fuzz.load(path, train, loader)


def test_a_jpeg_with_too_many_pixels_is_rejected(tmp_path, monkeypatch):
    data = bytearray(beton.encode_jpeg(np.zeros((96, 96, 3), np.uint8), 90))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = (65_500).to_bytes(2, "big") * 2
    huge = beton.Encoded(JPEG, 65_500, 65_500, bytes(data), np.zeros((3, 256), np.int64))
    monkeypatch.setattr(beton, "encode", lambda image, encoding, position: huge)
    beton.write(tmp_path / "x.beton", from_arrays(np.zeros((2, 8, 8, 3), np.uint8), [0, 1], "x"), Encoding())
    with pytest.raises(UserError, match=r"x\.beton: image 0 \(byte \d+\) is a JPEG of 65500×65500"):
        fuzz.load(tmp_path / "x.beton", "crop")


def test_too_little_memory_for_a_jpeg_is_reported(tmp_path):
    """The address space is limited, so that 100 megapixels don't fit."""
    script = f"""
import resource, sys
import numpy as np
from pathlib import Path
from raykd import UserError
from raykd.data.augment.pipeline import training
from raykd.data.config import Encoding
from raykd.data.examples import from_arrays
from raykd.data.storage import beton
from tests.faults import beton_fuzz as fuzz
small, large = Path({str(tmp_path)!r}) / "small.beton", Path({str(tmp_path)!r}) / "large.beton"
fuzz.write(small, "restarts")
beton.write(large, from_arrays([np.zeros((10_000, 10_000, 3), np.uint8)] * 3, [0, 1, 2], "x"), Encoding(mode="jpeg"))
fuzz.load(small, "copy")
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20),) * 2)
try:
    fuzz.load(large, "copy")
except UserError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert "large.beton: image" in done.stdout and "needs more memory than is available" in done.stdout, done.stderr


@pytest.mark.parametrize("kind", ["restarts", "raw"])
def test_a_file_truncated_during_reading_is_reported(tmp_path, kind):
    path = tmp_path / "x.beton"
    fuzz.write(path, kind)
    loader = fuzz.reader(path, fuzz.data_of("crop"))
    batches = loader.batches(0, 40)
    next(batches)
    os.truncate(path, int(Header(path).offsets[1]))
    with pytest.raises(UserError, match=r"x\.beton: image \d is gone: the file was truncated"):
        list(batches)
    assert [t for t in threading.enumerate() if type(t).__name__ == "EpochIterator"] == []


def test_pages_of_a_truncated_file_hold_no_old_memory(tmp_path):
    """Pages read ahead could otherwise contain old memory."""
    fuzz.write(tmp_path / "x.beton", "raw")
    header = Header(tmp_path / "x.beton")
    decode = Decode(header, training(fuzz.data_of("crop"), 0), 1, lambda pixels: pixels)
    os.truncate(header.path, header.bytes - 1)
    status, out = np.zeros(2, np.uint8), np.empty((2, fuzz.SIZE, fuzz.SIZE, 3), np.uint8)
    memory = np.zeros(int(header.sizes.max()) * 2, np.uint8)
    decode.run(np.arange(2), -1, memory, np.zeros(2, np.int64), out, status)
    assert status.tolist() == [CUT_OFF] * 2
