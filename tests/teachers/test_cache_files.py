"""Rows in cache files: several writers, readers that see complete rows only, and detected damage."""

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raykd.teachers.cache import folders
from raykd.teachers.cache.row_files import HEAD, Layout, RowFiles

PLAIN, COMPRESSED = Layout(20, 16), Layout(16_384, 16, width=2)


def rows_of(addresses, layout: Layout = PLAIN) -> np.ndarray:
    """The content of each address; half of it is zeros, as in feature maps."""
    draws = [np.random.default_rng(int(address)) for address in addresses]
    return np.stack([(d.integers(0, 256, layout.bytes) * d.integers(0, 2)).astype(np.uint8) for d in draws])


def open_rows(folder: Path, layout: Layout = PLAIN):
    folder.mkdir(exist_ok=True)
    said: list[str] = []
    return RowFiles(folder, layout, said.append), said


@pytest.mark.parametrize("layout", [PLAIN, COMPRESSED])
def test_rows_are_read_as_written_in_any_order(tmp_path, layout):
    addresses = np.array([7, 200, 8, 9, 15, 16, 17, 3])
    writer, _ = open_rows(tmp_path / "a", layout)
    writer.write(addresses, rows_of(addresses, layout), 3)
    reader, said = open_rows(tmp_path / "a", layout)
    for wanted in (addresses, addresses[::-1], np.sort(addresses), addresses[2:5]):
        rows, mark = reader.read(wanted)
        assert mark == 3 and np.array_equal(rows, rows_of(wanted, layout))
    assert reader.read(np.array([7, 6])) is None and reader.read(np.array([5000])) is None and not said


def test_a_compressed_row_uses_only_its_own_size(tmp_path):
    layout, addresses = Layout(65_536, 64, width=2), np.arange(64)
    rows, _ = open_rows(tmp_path / "a", layout)
    values = np.zeros((64, layout.bytes), np.uint8)
    values[:, ::64] = 1
    rows.write(addresses, values, 0)
    assert folders.allocated(tmp_path / "a") < 0.3 * values.size
    assert np.array_equal(rows.read(addresses)[0], values)


@given(st.integers(0, 5 * (HEAD + 20) - 1), st.integers(1, 255))
def test_any_changed_byte_is_detected(tmp_path_factory, byte, change):
    folder = tmp_path_factory.mktemp("rows")
    rows, said = open_rows(folder)
    rows.write(np.arange(5), rows_of(range(5)), 0)
    path = folder / "000000.rows"
    content = bytearray(path.read_bytes())
    content[byte] ^= change
    path.write_bytes(content)
    bad = byte // (HEAD + 20)
    gone = not any(content[bad * 28 : bad * 28 + 4])  # its checksum is 0: a row that was never written
    assert rows.read(np.arange(5)) is None
    assert [str(path) in line and "damaged" in line for line in said] == ([] if gone else [True])
    rest = np.delete(np.arange(5), bad)
    assert np.array_equal(rows.read(rest)[0], rows_of(rest))
    rows.write(np.array([bad]), rows_of([bad]), 0)
    assert np.array_equal(rows.read(np.arange(5))[0], rows_of(range(5)))


def test_misplaced_rows_and_rows_of_other_caches_are_detected(tmp_path):
    rows, _ = open_rows(tmp_path / "a")
    rows.write(np.arange(32), rows_of(range(32)), 0)
    other, said = open_rows(tmp_path / "b")
    shutil.copy(tmp_path / "a" / "000000.rows", tmp_path / "b" / "000000.rows")
    assert other.read(np.arange(4)) is None and len(said) == 1
    shutil.copy(tmp_path / "a" / "000001.rows", tmp_path / "a" / "000000.rows")
    again, said = open_rows(tmp_path / "a")
    assert again.read(np.arange(4)) is None and "000000.rows" in said[0]
    path = tmp_path / "a" / "000001.rows"
    path.write_bytes(path.read_bytes()[28:])  # every row one place before its own
    assert open_rows(tmp_path / "a")[0].read(np.arange(16, 20)) is None


def test_a_truncated_file_lacks_only_its_last_rows(tmp_path):
    rows, said = open_rows(tmp_path / "a")
    rows.write(np.arange(16), rows_of(range(16)), 0)
    os.truncate(tmp_path / "a" / "000000.rows", 10 * 28 + 13)
    assert rows.read(np.arange(16)) is None and rows.read(np.arange(10)) is not None
    assert rows.read(np.array([11])) is None


def fill(folder: Path, layout: Layout, order: np.ndarray, batch: int = 4) -> None:
    rows, _ = open_rows(folder, layout)
    for first in range(0, len(order), batch):
        part = order[first : first + batch]
        if rows.read(part) is None:
            rows.write(part, rows_of(part, layout), 1)


def in_a_child(work) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


@pytest.mark.parametrize("layout", [Layout(4000, 64), COMPRESSED])
def test_killed_writers_leave_no_readable_partial_rows(tmp_path, layout):
    folder, everything = tmp_path / "a", np.arange(256)
    draw = np.random.default_rng(0)
    for _ in range(10):
        child = in_a_child(lambda: fill(folder, layout, draw.permutation(256)))
        time.sleep(draw.uniform(0.001, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if folder.exists():
            reader, _ = open_rows(folder, layout)
            for address in everything:
                found = reader.read(np.array([address]))
                assert found is None or np.array_equal(found[0], rows_of([address], layout))
    fill(folder, layout, everything)
    assert np.array_equal(open_rows(folder, layout)[0].read(everything)[0], rows_of(everything, layout))


def test_concurrent_readers_see_complete_rows_only(tmp_path):
    """One writes correct rows, the other the same rows as another run would: rounded differently."""
    layout, everything = Layout(4000, 64), np.arange(64)
    right = rows_of(everything, layout)
    other = right ^ 1
    folder = tmp_path / "a"
    first, _ = open_rows(folder, layout)

    def write_on(values):
        rows, _ = open_rows(folder, layout)
        for _ in range(10_000):
            rows.write(everything, values, 0)

    first.write(everything, right, 0)
    children = [in_a_child(lambda values=values: write_on(values)) for values in (right, other)]
    seen = 0
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        for address in everything:
            found = first.read(np.array([address]))
            if found is not None:
                seen += 1
                assert np.array_equal(found[0][0], right[address]) or np.array_equal(found[0][0], other[address])
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert seen
