"""Files larger than memory: each page is read once per epoch, with the same pixels as from the memory-mapped file."""

import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from raykd.contract import Placement
from raykd.data import loader
from raykd.data.config import Encoding
from raykd.data.examples import Splits, from_arrays
from raykd.data.ffcv import memory
from raykd.data.storage.beton import PAGE
from raykd.data.storage.header import Header
from raykd.data.storage.prepare import prepare
from raykd.data.transforms import RandomCrop
from tests.support.toy import Toy

COUNT, SIDE = 1200, 400


@dataclasses.dataclass(frozen=True, kw_only=True)
class Large(Toy):
    """1,200 raw images of 480,000 bytes, 17 to a page: 71 pages, 594 MB."""

    name = "large"

    def open(self, root: Path, download: bool) -> Splits:
        noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        images = [noise ^ np.uint8(i % 251) for i in range(4)]
        train = from_arrays(np.empty(0), [i % 3 for i in range(COUNT)], "large")
        return Splits(
            ("a", "b", "c"), train._replace(read=lambda i: images[i % 4]), from_arrays(images, [0] * 4, "large")
        )


def bytes_read() -> int:
    """Bytes that this process has read from the operating system."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"])


@pytest.mark.parametrize("world", [1, 2])
def test_each_page_is_read_once(toy, monkeypatch, world):
    changes = {"source": Large(), "image_size": 64, "train": (RandomCrop(),), "encoding": Encoding(mode="raw")}
    data = toy(order="quasi-random", **changes)
    prepared, settings = prepare(data), {"batch_size": 48, "seed": 1}
    placements = [Placement(torch.device("cpu"), 1, rank, world) for rank in range(world)]
    steps = COUNT // 48
    parts = [loader.TrainLoader(data, prepared, placement, **settings) for placement in placements]
    expected = [list(part.batches(0, steps)) for part in parts]
    monkeypatch.setattr(memory, "memory_limit", lambda: 100 << 20)
    size = prepared.train.stat().st_size
    for rank in range(world):
        part, before = loader.TrainLoader(data, prepared, placements[rank], **settings), bytes_read()
        for ours, theirs in zip(part.batches(0, steps), expected[rank], strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours[:3], theirs[:3], strict=True))
        assert 0.95 < (bytes_read() - before) / size < 1.1
    assert [t for t in threading.enumerate() if type(t).__name__ in ("PageReader", "EpochIterator")] == []
    header = Header(prepared.train)
    assert header.bytes > 5 * memory.memory_limit() and len(np.unique(header.pages)) == -(-COUNT // (PAGE // 480_000))


@pytest.mark.parametrize(
    "line, file",
    [("0::/a/b", "a/memory.max"), ("4:memory:/a/b", "memory/a/b/memory.limit_in_bytes"), ("0::/", "memory.max")],
)
def test_the_memory_limit_is_the_smallest_of_machine_and_control_groups(tmp_path, monkeypatch, line, file):
    whole = memory.memory_limit()
    assert whole > 1 << 28
    (tmp_path / "mine").write_text(f"1:cpu:/elsewhere\n{line}\n")
    monkeypatch.setattr(memory, "CGROUP_FILE", tmp_path / "mine")
    monkeypatch.setattr(memory, "CGROUP_ROOT", tmp_path / "groups")
    limit = tmp_path / "groups" / file
    limit.parent.mkdir(parents=True)
    assert memory.memory_limit() >= whole
    limit.write_text("123456789\n")
    assert memory.memory_limit() == 123456789
    limit.write_text("max\n")
    assert memory.memory_limit() >= whole
    assert memory.fits_memory(0) and not memory.fits_memory(1 << 60)
